"""Names that Dagster takes, of names that SQLMesh allows: with spaces, quotes, dots, slashes, in any script."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import dagster as dg
from dagster._core.definitions.utils import DISALLOWED_NAMES


def key_part(text: str) -> str:
    """A part of an asset's key: the name itself where Dagster takes it, else what it takes of it, and a digest.

    Always the same for a name, whatever other names there are: `order stats` is `order_stats_5f1c2a`.
    """
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) and text not in DISALLOWED_NAMES else digested(text)


def digested(text: str, of: str = "") -> str:
    """What Dagster takes of a name, with the digest of it, or of another text, behind it."""
    plain = re.sub(r"[^A-Za-z0-9_]+", "_", text).strip("_")
    digest = hashlib.sha256((of or text).encode()).hexdigest()[:6]
    return f"{plain}_{digest}" if plain else f"name_{digest}"


def distinct_keys(
    keys: Collection[dg.AssetKey], checks: Collection[dg.AssetCheckSpec] = ()
) -> Mapping[dg.AssetKey, dg.AssetKey]:
    """Other keys for those of which Dagster would make one and the same output: `a.b__c` and `a__b.c`.

    A check has an output too: `daily` of `a.orders` that of the asset `a.orders_daily`.
    """
    by_output: dict[str, list[dg.AssetKey]] = {}
    for key in keys:
        by_output.setdefault(key.to_python_identifier(), []).append(key)
    of_checks: dict[str, list[dg.AssetKey]] = {}
    for check in checks:
        of_checks.setdefault(check.get_python_identifier(), []).append(check.asset_key)
    clashing = {key for output, found in by_output.items() if len(found) > 1 or output in of_checks for key in found}
    clashing |= {key for found in of_checks.values() if len(found) > 1 for key in found}
    return {key: dg.AssetKey([*key.path[:-1], digested(key.path[-1], of=key.to_string())]) for key in clashing}


def renamed(spec: dg.AssetSpec, keys: Mapping[dg.AssetKey, dg.AssetKey]) -> dg.AssetSpec:
    deps = [dep._replace(asset_key=keys.get(dep.asset_key, dep.asset_key)) for dep in spec.deps]
    return spec.replace_attributes(key=keys.get(spec.key, spec.key), deps=deps)


def check_names(audits: Sequence[tuple[str, Sequence[str], str]]) -> list[str]:
    """Unique names for a model's audits, each given as (audit, the columns that it is about, its other arguments).

    The audit's own name; where a model has it several times with the columns behind it, `accepted_range_purchases`;
    and with the other arguments too for the second over the same columns. Adding one behind renames none of several.
    """
    repeated = Counter(audit for audit, *_ in audits)
    taken: list[str] = []
    for audit, columns, rest in audits:
        about = "_".join([audit, *(columns or [rest])])
        tries = [audit] if repeated[audit] == 1 else [about, f"{about}_{rest}"]
        names = [found for text in tries if (found := check_name(text)) not in taken]
        taken.append(names[0] if names else digested(check_name(about)[:70], of=f"{len(taken)} {rest}"))
    return taken


def check_name(text: str) -> str:
    """A check's name: at most 80 of Dagster's characters."""
    plain = re.sub(r"[^A-Za-z0-9_]+", "_", text).strip("_")
    has_lost_letters = re.search(r"[^\W_]", re.sub(r"[A-Za-z0-9_]", "", text)) is not None
    return digested(text[:70], of=text) if not plain or has_lost_letters else plain[:80]
