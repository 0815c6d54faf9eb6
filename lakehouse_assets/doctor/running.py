"""Dagster at work: the daemon's heartbeats, runs whose worker is gone, pools that nobody gives back."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorStatus
from dagster._core.storage.tags import GRPC_INFO_TAG

from lakehouse.settings import reachable
from lakehouse.upkeep.doctor.embedded import State
from lakehouse.upkeep.doctor.examination import Examination, UnableError
from lakehouse.upkeep.doctor.findings import Finding, Seen, warning, wrong
from lakehouse_assets.instance.abandoned_runs import AT_WORK, server_answers

SILENT_SECONDS = 300
LONG_SECONDS = 6 * 3600
STUCK = "python -m lakehouse_assets.instance.abandoned_runs (`make up` does it when it starts)"


def answers(host: str, port: int) -> bool:
    """Whether something listens there."""
    try:
        with socket.create_connection((reachable(host).strip("[]"), port), timeout=0.5):
            return True
    except OSError:
        return False


@contextmanager
def instance_of(examination: Examination) -> Iterator[dg.DagsterInstance]:
    """Dagster's instance, where it has a storage already: opening one would create it."""
    if not examination.has("dagster.runs", "dagster.daemon_heartbeats"):
        raise UnableError("Dagster has not been used yet")
    if examination.server and examination.server.state is State.ORPHANED:
        raise UnableError("it would join the embedded PostgreSQL that nobody uses")
    with dg.DagsterInstance.from_config(str(examination.settings.dagster_home)) as instance:
        yield instance


def daemon(examination: Examination) -> Seen:
    """A daemon beats while somebody counts on it: the web UI runs, runs wait, or a schedule was switched on."""
    with instance_of(examination) as instance:
        beats = instance.get_daemon_heartbeats()
        newest = max((one.timestamp for one in beats.values()), default=0.0)
        silent = examination.seconds() - newest
        on = [state.name for state in instance.all_instigator_state(instigator_statuses={InstigatorStatus.RUNNING})]
        waiting = len(instance.get_run_ids(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])))
        findings: list[Finding] = []
        if silent > SILENT_SECONDS:
            settings = examination.settings
            web = answers(settings.webserver_host, settings.webserver_port)
            counting = [
                *(["the web UI runs"] if web else []),
                *([f"{waiting} runs wait"] if waiting else []),
                *([f"{', '.join(sorted(on)[:4])} are on"] if on else []),
            ]
            if not counting:
                return Seen("none runs, and nothing waits for one: `make up` starts it")
            said = f"since {datetime.fromtimestamp(newest, UTC):%Y-%m-%d %H:%M} UTC" if newest else "ever"
            findings.append(
                wrong(
                    f"no daemon has given a sign {said}, and {' and '.join(counting)}",
                    where="dagster.daemon_heartbeats",
                    why="No schedule and no sensor ticks, no queued run starts, nothing is published.",
                    do="`make up` (or in containers: docker compose up -d daemon); its log: "
                    "logs/daemon.log in the data folder.",
                )
            )
        else:
            findings += [
                warning(
                    f"the daemon's {name} reports: {beat.errors[0].message.strip().splitlines()[0]}",
                    where="dagster.daemon_heartbeats",
                    why="It tries again; while it fails, its part stands still.",
                    do="Its log: logs/daemon.log in the data folder.",
                )
                for name, beat in beats.items()
                if beat.errors and examination.seconds() - beat.timestamp < SILENT_SECONDS
            ]
        return Seen(f"it gave a sign {max(silent, 0):.0f} seconds ago", tuple(findings))


def runs(examination: Examination) -> Seen:
    """Runs that count as started are at work."""
    with instance_of(examination) as instance:
        records = instance.get_run_records(dg.RunsFilter(statuses=AT_WORK))
        findings = []
        for record in records:
            run = record.dagster_run
            name = f"run {run.run_id[:8]} of {run.job_name}"
            pools = sorted(run.run_op_concurrency.all_pools or ()) if run.run_op_concurrency else []
            holds = (
                f" It holds {', '.join(f'pool {pool}' for pool in pools)}: later runs wait for ever." if pools else ""
            )
            started = f"{datetime.fromtimestamp(record.start_time or 0, UTC):%Y-%m-%d %H:%M} UTC"
            if GRPC_INFO_TAG in run.tags:
                if not server_answers(run):
                    findings.append(
                        wrong(
                            f"{name} counts as started, and its worker is gone",
                            where=f"started {started}",
                            why=f"Dagster's launcher never notices.{holds}",
                            do=STUCK,
                        )
                    )
            elif examination.seconds() - record.update_timestamp.timestamp() > LONG_SECONDS:
                findings.append(
                    warning(
                        f"{name} was started on a command line and is not over",
                        where=f"started {started}",
                        why=f"If its process was killed, it counts as started for ever.{holds}",
                        do=f"When it is gone: dagster run delete {run.run_id}, or mark it failed in the web UI.",
                    )
                )
        return Seen(f"{len(records)} at work" if records else "none is at work", tuple(findings))


def pools(examination: Examination) -> Seen:
    """Slots of pools are held by runs that are at work, and every pool has one."""
    with instance_of(examination) as instance:
        storage = instance.event_log_storage
        if not storage.supports_global_concurrency_limits:
            raise UnableError("this storage has no pools")
        over: dict[str, set[str]] = {}
        shut = []
        limits = {pool.name: pool.limit for pool in storage.get_pool_limits()}
        names = sorted({*storage.get_concurrency_keys(), *limits})
        for name in names:
            info = storage.get_concurrency_info(name)
            for run_id in {*info.active_run_ids, *info.assigned_run_ids}:
                run = instance.get_run_by_id(run_id)
                if run is None or run.is_finished:
                    over.setdefault(name, set()).add(run_id)
            if info.limit == 0 or limits.get(name) == 0:
                shut.append(name)
        findings = [
            wrong(
                f"pool {name} is stuck: {len(ids)} of its slots are held by runs that are over",
                where=", ".join(f"run {run_id[:8]}" for run_id in sorted(ids)[:5]),
                why="Later runs of this pool wait for ever.",
                do="Web UI: Deployment, Concurrency, the pool, free all slots of the run; or in Python: "
                f"DagsterInstance.get().event_log_storage.free_concurrency_slots_for_run('{min(ids)}')",
            )
            for name, ids in over.items()
        ] + [
            warning(
                f"pool {name} has no slot",
                where="its limit is 0",
                why="No run of it ever begins.",
                do=f"dagster instance concurrency set {name} 1",
            )
            for name in shut
        ]
        return Seen(f"{len(names)} pools, none is stuck" if names else "none was used yet", tuple(findings))


def workers(examination: Examination) -> Seen:
    """Where runs are given to workers, some worker takes them."""
    settings = examination.settings
    if not settings.workers:
        return Seen("none is wanted: runs are executed where the daemon is")
    from lakehouse_assets.instance.workers import WorkersError, answering

    assert examination.postgres  # without it nobody can say whose queue it is, and no server is started for that
    try:
        names = answering(settings)
    except WorkersError as error:
        problem, do = str(error), "Start it, or mend LAKEHOUSE_BROKER_URL."
    else:
        problem, do = "no worker answers", "`lakehouse worker` on any host with this lake's settings."
        if names:
            return Seen(f"{len(names)} answer: {', '.join(names)}")
    waiting = "Runs are queued, and none begins."
    return Seen(problem, (wrong(problem, where="LAKEHOUSE_BROKER_URL", why=waiting, do=do),))
