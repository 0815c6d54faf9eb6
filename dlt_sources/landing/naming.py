"""What a file's column is called in its table: names of any script survive, and stay the same from file to file."""

from __future__ import annotations

import re
import unicodedata

_WORD = re.compile(r"([^_])([A-Z][a-z]+)")
_HUMP = re.compile(r"([a-z0-9])([A-Z])")
_UNDERSCORES = re.compile(r"__+")
_REDUCED = str.maketrans("+-*@|", "x_xal")
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
_SEPARATORS = ("Zs", "Zl", "Zp", "Cc", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf")
_ASCII_SEPARATORS = "!\"',./:;?\\"


def column_name(header: str) -> str:
    """A header's column: in ASCII as dlt's `snake_case` has it (without importing dlt), else as `full_name`."""
    name = unicodedata.normalize("NFC", header.strip())
    if not name.isascii():
        return full_name(name)
    name = _snake_case(re.sub(r"[^a-zA-Z\d_]+", "_", name.translate(_REDUCED)))
    stripped = name.rstrip("_")
    return _UNDERSCORES.sub("_", stripped + "x" * (len(name) - len(stripped)))


def full_name(header: str) -> str:
    """A column's name that keeps every letter and sign of the header: only case, blanks and punctuation go."""
    name = _snake_case(_INVISIBLE.sub("", unicodedata.normalize("NFC", header.strip())))
    name = "".join("_" if _separates(character) else character for character in unicodedata.normalize("NFC", name))
    return _UNDERSCORES.sub("_", name).rstrip("_") or column_name("_")


def comparable(header: str) -> str:
    """What two headers share when they differ in nothing but case, blanks and punctuation."""
    name = _INVISIBLE.sub("", unicodedata.normalize("NFC", header.strip()).casefold())
    return "".join(character for character in name if not _separates(character)) or name


def _snake_case(name: str) -> str:
    name = _HUMP.sub(r"\1_\2", _WORD.sub(r"\1_\2", name)).lower()
    return "_" + name if re.match(r"[0-9]", name) else name


def _separates(character: str) -> bool:
    return character in _ASCII_SEPARATORS or unicodedata.category(character) in _SEPARATORS
