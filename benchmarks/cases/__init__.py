"""The cases, in the order in which they run and are told."""

from __future__ import annotations

from benchmarks.case import Case
from benchmarks.cases import (
    backfill,
    code_location,
    demo,
    documentation,
    increments,
    loads,
    many_models,
    one_partition,
    ordinary_source,
    overhead,
    postgres_clients,
    promotion,
    query,
    real_models,
    release,
    zones,
)

CASES: dict[str, Case] = {
    case.name: case
    for case in (
        demo.CASE,
        loads.CASE,
        ordinary_source.CASE,
        real_models.CASE,
        code_location.CASE,
        one_partition.CASE,
        backfill.CASE,
        overhead.CASE,
        many_models.CASE,
        promotion.CASE,
        release.CASE,
        zones.CASE,
        increments.CASE,
        query.CASE,
        postgres_clients.CASE,
        documentation.CASE,
    )
}
