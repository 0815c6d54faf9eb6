"""The checks of `lakehouse doctor` that look at Dagster and at the models. Nothing is imported before it is needed."""

from __future__ import annotations

from lakehouse.upkeep.doctor.examination import Examination
from lakehouse.upkeep.doctor.findings import Check, Seen


def _daemon(examination: Examination) -> Seen:
    from lakehouse_assets.doctor.running import daemon

    return daemon(examination)


def _runs(examination: Examination) -> Seen:
    from lakehouse_assets.doctor.running import runs

    return runs(examination)


def _pools(examination: Examination) -> Seen:
    from lakehouse_assets.doctor.running import pools

    return pools(examination)


def _workers(examination: Examination) -> Seen:
    from lakehouse_assets.doctor.running import workers

    return workers(examination)


def _deployed(examination: Examination) -> Seen:
    from lakehouse_assets.doctor.code import deployed

    return deployed(examination)


def _location(examination: Examination) -> Seen:
    from lakehouse_assets.doctor.code import location

    return location(examination)


def _declarations(examination: Examination) -> Seen:
    from lakehouse_assets.doctor.code import declarations

    return declarations(examination)


CHECKS = [
    Check("daemon", _daemon),
    Check("runs", _runs),
    Check("pools", _pools),
    Check("workers", _workers),
    Check("declarations", _declarations),
    Check("deployed", _deployed),
    Check("code location", _location),
]
