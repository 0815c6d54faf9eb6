"""Strike after strike on one tiny lake: each in a process forked from this one, which has imported everything.

This process holds no connection and no thread, so that what it forks is sound.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults.nights import strikes
from tests.faults.nights.lakes import (
    ANSWERS,
    BASKETS,
    CATCH_UP,
    COMPACTION,
    CREATE,
    DROP,
    LOAD,
    PROMOTE,
    PUBLISH,
    RESUME,
    TinyLake,
)
from tests.faults.nights.store import Store
from tests.faults.nights.strikes import Boundaries, Strike
from tests.faults.proxy import MODES

HUNG_SECONDS = 900.0
MOST_FINDINGS = 20
BURSTS = (1, 6, 12, 20, 30)
"""So many strikes come before the lake is brought to rest and compared with the truth."""
NEEDS = {
    CATCH_UP: (LOAD,), PUBLISH: (LOAD, CATCH_UP), COMPACTION: (LOAD,), PROMOTE: (CREATE,), DROP: (CREATE,),
    "rollback": (PUBLISH,), RESUME: (PUBLISH,),
}  # fmt: skip
"""What comes before an act, unhindered, so that there is something to do."""
SETTLING = (LOAD, BASKETS, CATCH_UP, PUBLISH)
KILL, MOMENT = "SIGKILL at a boundary", "SIGKILL at any moment"
LOST_WRITES = "store: writes lost"
CLOCK_STEPS = {"clock 3 days ahead": 3 * 86_400, "clock 3 days back": -3 * 86_400, "clock an hour back": -3600}


@dataclass
class Ended:
    """What became of one act in its process."""

    act: str
    strike: Strike | None
    how: str  # done, failed, killed, hung
    boundaries: int
    struck: bool
    cpu_seconds: float
    said: str
    result: Any = None


@dataclass
class Report:
    """What came of a night, as a line of results.jsonl."""

    seed: int
    where: str
    faults: Counter[str] = field(default_factory=Counter)
    """`kind, act` -> how many happened."""
    at_rest: int = 0
    """So often everything was compared with the truth."""
    loads: int = 0
    releases: int = 0
    cpu_seconds: float = 0.0
    findings: list[str] = field(default_factory=list)


class Night:
    """One seed on one lake."""

    def __init__(
        self, tiny: TinyLake, disk: Path, store: Store | None, *, seed: int, has_clock: bool, is_own_disk: bool
    ) -> None:
        self.tiny = tiny
        self.disk = disk
        self.store = store
        self.random = random.Random(seed)
        self.report = Report(seed, "S3" if store else "folder")
        self.log = tiny.folder / "log"
        self.url = tiny.lake.postgres_url  # joins the server, and so keeps it for those that come
        self.data = tiny.lake.settings.data_dir / "postgres" / "data"
        self.boundaries: Counter[str] = Counter()
        self.cpu: dict[str, float] = {}
        self.newest = 0
        self.is_over = False
        self.kinds: dict[str, Callable[[], None]] = {
            KILL: strikes.kill,
            "PostgreSQL killed": partial(strikes.end_postgres, self.data, signal.SIGKILL),
            "PostgreSQL crashes": partial(strikes.end_postgres, self.data, signal.SIGQUIT),
            "PostgreSQL restarted": partial(strikes.end_postgres, self.data, signal.SIGINT),
            "connections cut": partial(strikes.cut_connections, self.url),
            "no connection left": partial(strikes.take_all_connections, self.url),
        }
        if is_own_disk:
            self.kinds["disk full"] = partial(strikes.fill, disk)
        if store:
            self.kinds |= {f"store: {mode}": partial(setattr, store.proxy, "mode", mode) for mode in MODES[1:]}
            self.kinds["store killed"] = store.kill
        if has_clock:
            self.kinds |= {name: partial(strikes.step_clock, by) for name, by in CLOCK_STEPS.items()}

    def run(self, count: int, until: float) -> Report:
        """So many faults, or until a monotonic time."""
        signal.signal(signal.SIGTERM, self._stop)
        while self.report.faults.total() < count and time.monotonic() < until and not self.is_over:
            self._burst(min(self.random.choice(BURSTS), count - self.report.faults.total()))
            self._settle()
        return self.report

    def _stop(self, *_: Any) -> None:
        """Somebody wants to go home: bring the lake to rest and tell."""
        self.is_over = True

    def _burst(self, count: int) -> None:
        act = self._act()
        for name in NEEDS.get(act, ()):
            self._expect(self._together([(name, None)]))
        for _ in range(count):
            if self.is_over:
                return
            if self.random.random() < 0.25:
                act = self._act()
            pair = [(act, self._strike(act))]
            if self.random.random() < 0.2:  # two at once, of one kind or of two
                other = act if self.random.random() < 0.4 else self._act()
                pair.append((other, self._strike(other) if self.random.random() < 0.3 else None))
            for ended in self._together(pair):
                if ended.struck and ended.strike:
                    beside = ", two at once" if len(pair) > 1 else ""
                    self.report.faults[f"{ended.strike.kind}, {ended.act}{beside}"] += 1

    def _act(self) -> str:
        """Any, or one of FAULT_ACTS; what costs little more often."""
        asked = os.environ.get("FAULT_ACTS")
        names = asked.split(", ") if asked else list(self.tiny.acts)
        return self.random.choices(names, [1 / max(self.cpu.get(name, 0.5), 0.1) ** 0.5 for name in names])[0]

    def _strike(self, act: str) -> Strike:
        """Half of them kills, or all of FAULT_KIND; anywhere in what this act was seen to do."""
        kind = self.random.choice([KILL, MOMENT, *self.random.sample(list(self.kinds), 2)])
        kind = os.environ.get("FAULT_KIND") or kind
        if kind == MOMENT:
            return Strike(kind, seconds=self.random.uniform(0.01, self.cpu.get(act, 2.0)))
        return Strike(kind, self.random.randint(1, max(self.boundaries[act], 5)))

    def _settle(self) -> None:
        """An ordinary run repairs what was unfinished and brings all to readers; then all is compared."""
        self._together([(RESUME, None)])  # a rollback holds readers
        names = SETTLING if self.random.random() < 0.3 else SETTLING[-2:]
        for name in names:
            self._expect(self._together([(name, None)]))
        is_half_made, waiting = self._look()
        for name in [DROP] * is_half_made + [PUBLISH] * waiting:  # a run publishes one, the sensor asks again
            self._expect(self._together([(name, None)]))
        ended = self._fork("judge", self.tiny.wrong_at_rest, None)
        self._wait([ended])
        judged = self._ended(*ended)
        wrong, seen = judged.result if judged.how == "done" else ([judged.said], {})
        self.report.at_rest += 1
        if seen:
            if seen["release"] < self.newest or seen["loads"] < self.report.loads:
                wrong.append(f"readers have {seen}, and had release {self.newest} with {self.report.loads} loads")
            self.newest = self.report.releases = seen["release"]
            self.report.loads = seen["loads"]
        if self.report.at_rest % 5 == 0:
            checked = self._fork("check of the backup", lambda: (self.tiny.check_backup(), {}), None)
            self._wait([checked])
            wrong += (self._ended(*checked).result or [["the backup could not be checked"]])[0]
        for sentence in wrong:
            self._find(sentence)

    def _look(self) -> tuple[bool, int]:
        """Whether the environment that comes and goes was left half made; how many releases wait."""
        asked = self._fork("look", self.tiny.left_over, None)
        self._wait([asked])
        is_half_made, waiting = self._ended(*asked).result or (False, 0)
        return is_half_made, waiting

    def _expect(self, ended: list[Ended]) -> None:
        """Nobody has struck, so it succeeds, or says what stands in its way."""
        for one in ended:
            if one.how != "done" and not (one.act not in SETTLING and any(words in one.said for words in ANSWERS)):
                self._find(f"{one.act} {one.how} by itself: {one.said[-2000:]}")

    def _find(self, sentence: str) -> None:
        self.report.findings.append(sentence.splitlines()[0][:200])
        self.is_over = len(self.report.findings) >= MOST_FINDINGS
        self._note("FINDING", sentence)

    def _note(self, *words: str) -> None:
        with open(self.log, "a") as file:
            file.write(f"{time.strftime('%H:%M:%S')} {' | '.join(words)}\n")

    # ------------------------------------------------------------------------------------------- processes

    def _together(self, acts: list[tuple[str, Strike | None]]) -> list[Ended]:
        started = [self._fork(name, self.tiny.acts[name], strike) for name, strike in acts]
        self._wait(started)
        with contextlib.suppress(FileNotFoundError):
            (self.disk / strikes.BALLAST).unlink()
        has_lost = False
        if self.store:
            has_lost, self.store.proxy.has_lost = self.store.proxy.has_lost, False
            self.store.mend()
        found = [self._ended(*one) for one in started]
        for one in found:
            if one.how == "done" and one.strike is None:
                self.boundaries[one.act] = max(one.boundaries, self.boundaries[one.act])
                self.cpu[one.act] = one.cpu_seconds
            if one.strike and one.strike.kind == LOST_WRITES and not has_lost:
                one.struck = False  # nothing was written after it
            if one.how == "hung":
                self._find(f"{one.act} hung after {one.strike}")
            elif one.how == "failed" and one.strike is None and not any(words in one.said for words in ANSWERS):
                self._note("complaint", one.act, one.said[-1500:])
            self._note(one.act, str(one.strike), one.how, f"{one.boundaries} boundaries, {one.cpu_seconds:.2f} s")
        return found

    def _fork(self, name: str, act: Callable[[], Any], strike: Strike | None) -> tuple[int, str, Strike | None]:
        pid = os.fork()
        if pid:
            return pid, name, strike
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._child(act, strike)
        raise AssertionError

    def _child(self, act: Callable[[], Any], strike: Strike | None) -> None:
        """In the forked process: never returns."""
        code = 1
        told: dict[str, Any] = {"said": ""}
        boundaries = Boundaries()
        try:
            path = self.tiny.folder / f"struck {os.getpid()}"
            if strike and strike.kind == MOMENT:
                strikes.kill_after(strike.seconds)
            elif strike:

                def now() -> None:
                    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
                    self.kinds[strike.kind]()

                boundaries.strike, boundaries.at = now, strike.boundary
            boundaries.watch()
            told["result"] = act()
            problems = getattr(told["result"], "problems", ())
            if not isinstance(told["result"], tuple):
                told["result"] = None
            if problems:
                raise RuntimeError("\n".join(problems))
            code = 0
        except BaseException as error:
            told["said"] = f"{error}\n{traceback.format_exc(limit=-4)}"[-6000:]
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            with contextlib.suppress(OSError):
                (self.tiny.folder / f"told {os.getpid()}").write_text(
                    json.dumps(told | {"boundaries": boundaries.count})
                )
            os._exit(code)

    def _wait(self, started: list[tuple[int, str, Strike | None]]) -> None:
        """Until all have ended; what they used is kept for `_ended`."""
        deadline = time.monotonic() + HUNG_SECONDS
        self._status: dict[int, tuple[str, float]] = getattr(self, "_status", {})
        waiting = {pid for pid, *_ in started}
        while waiting:
            for pid in list(waiting):
                done, status, used = os.wait4(pid, os.WNOHANG)
                hung = not done and time.monotonic() > deadline
                if hung:
                    os.kill(pid, signal.SIGKILL)
                    _, status, used = os.wait4(pid, 0)
                if done or hung:
                    waiting.discard(pid)
                    how = "hung" if hung else "killed" if os.WIFSIGNALED(status) else "failed" if status else "done"
                    self._status[pid] = how, used.ru_utime + used.ru_stime
            time.sleep(0.02)

    def _ended(self, pid: int, name: str, strike: Strike | None) -> Ended:
        how, cpu = self._status[pid]
        told = self._message(pid)
        struck = self.tiny.folder / f"struck {pid}"
        is_struck = struck.exists() or bool(strike and strike.kind == MOMENT and how == "killed")
        struck.unlink(missing_ok=True)
        self.report.cpu_seconds += cpu
        return Ended(
            name, strike, how, told.get("boundaries", 0), is_struck, cpu, told.get("said", ""), told.get("result")
        )

    def _message(self, pid: int) -> dict[str, Any]:
        path = self.tiny.folder / f"told {pid}"
        try:
            found: dict[str, Any] = json.loads(path.read_text())
            path.unlink()
        except (OSError, ValueError):
            return {}
        return found
