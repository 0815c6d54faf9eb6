"""Whether whoever reads a column can go on as before when its type changes."""

from __future__ import annotations

from sqlglot import exp

KIND = exp.DataType.Type
WHOLE = (KIND.TINYINT, KIND.SMALLINT, KIND.INT, KIND.BIGINT, KIND.INT128)
UNSIGNED = (KIND.UTINYINT, KIND.USMALLINT, KIND.UINT, KIND.UBIGINT, KIND.UINT128)
DIGITS = (3, 5, 10, 19, 38)
"""That a whole number of these types may have."""
EXACT_AS_DOUBLE = 2
"""From BIGINT on a DOUBLE no longer holds every value."""
TEXT = exp.DataType.TEXT_TYPES


def widens(before: exp.DataType, after: exp.DataType) -> bool:
    """True when `after` holds every value of `before`, as what it was: a number, a text, a time."""
    old, new = before.this, after.this
    if before == after:
        return True
    if old in TEXT and new in TEXT:
        wanted, given = _sizes(before), _sizes(after)
        return not given or bool(wanted and wanted[0] <= given[0])
    if old in WHOLE or old in UNSIGNED:
        family = WHOLE if old in WHOLE else UNSIGNED
        size = family.index(old)
        if new in WHOLE or new in UNSIGNED:
            larger = (WHOLE if new in WHOLE else UNSIGNED).index(new)
            return larger >= size if (new in family) else new in WHOLE and larger > size
        if new == KIND.DECIMAL:
            whole, fraction = _decimal(after)
            return whole - fraction >= DIGITS[size]
        return new == KIND.DOUBLE and size <= EXACT_AS_DOUBLE
    if old == new == KIND.DECIMAL:
        (whole, fraction), (more, finer) = _decimal(before), _decimal(after)
        return finer >= fraction and more - finer >= whole - fraction
    return (old, new) == (KIND.FLOAT, KIND.DOUBLE)


def _sizes(kind: exp.DataType) -> list[int]:
    return [int(found.name) for found in kind.expressions if found.name.isdigit()]


def _decimal(kind: exp.DataType) -> tuple[int, int]:
    """Digits in all, and behind the point; DuckDB's own where the model names none."""
    sizes = _sizes(kind)
    return (sizes[0], sizes[1] if len(sizes) > 1 else 0) if sizes else (18, 3)
