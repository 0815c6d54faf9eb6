"""The process that reads files dies of them in place of the load, and blames none for what another did."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dlt_sources.datasets import ecommerce
from dlt_sources.landing.file_reader import FileReader
from dlt_sources.landing.typed_parquet import UnusableFile
from lakehouse.settings import PROJECT_ROOT
from tests.dlt_sources.loading import Landing, Loader
from tests.dlt_sources.test_typed_parquet import DATASET

GOOD = "id,name\n1,a\n2,b\n"
FAULTY = "tests.dlt_sources.faulty_reader"
LIMITED = """
import ctypes, resource, sys
from pathlib import Path
from dlt_sources.landing.file_reader import FileReader
from tests.dlt_sources.test_file_reader import DATASET, GOOD, Reading

if sys.platform == "linux":
    ctypes.CDLL(None).prctl(24, 24)  # PR_CAPBSET_DROP, CAP_SYS_RESOURCE: root, too, may raise no limit then
for kind, most in ((resource.RLIMIT_DATA, 800 << 20), (resource.RLIMIT_FSIZE, 1 << 20)):
    resource.setrlimit(kind, (most, most))
with FileReader(first_seconds=20) as reader:
    reading = Reading(Path(sys.argv[1]), reader)
    print(reading.rows(GOOD), reading.rows(GOOD))
    try:
        reader.write(DATASET, Path(sys.argv[2]), Path(sys.argv[1], "out"), "big.csv",
            known_columns=DATASET.table.column_types, headers={}, load_id="load")
    except OSError as error:
        print(error)
"""


class Reading:
    """Reads content through one process."""

    def __init__(self, folder: Path, reader: FileReader) -> None:
        self.folder, self.reader, self.number = folder, reader, 0

    def rows(self, content: str | bytes, name: str = "things.csv") -> int:
        self.number += 1
        path = self.folder / f"landed{self.number}{Path(name).suffix}"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return self.reader.write(
            DATASET,
            path,
            self.folder / f"out{self.number}",
            name,
            known_columns=DATASET.table.column_types,
            headers={},
            load_id="load",
        ).rows

    def refusal(self, content: str | bytes, name: str = "things.csv") -> str:
        with pytest.raises(UnusableFile) as raised:
            self.rows(content, name)
        return str(raised.value)

    @property
    def pid(self) -> int:
        assert self.reader._process is not None
        return self.reader._process.pid


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reading]:
    monkeypatch.setattr(FileReader, "module", FAULTY)
    with FileReader(first_seconds=20) as reader:
        yield Reading(tmp_path, reader)


def test_one_process_reads_file_after_file(faulty: Reading) -> None:
    assert faulty.rows(GOOD) == 2
    first = faulty.pid
    assert faulty.refusal("colour\nred\n").startswith("no column id")
    assert faulty.rows(GOOD) == 2
    assert faulty.pid == first


def test_a_file_that_crashes_the_reader_is_refused_and_the_next_is_read(faulty: Reading) -> None:
    assert faulty.rows(GOOD) == 2
    assert faulty.refusal(GOOD + "3,CRASH\n") == "it crashed the reader (signal 11, Segmentation fault)"
    assert faulty.refusal(GOOD + "3,MEMORY\n").startswith("reading it takes more memory than a file may have")
    assert faulty.rows(GOOD) == 2


@pytest.mark.proof
def test_a_machine_with_lower_limits_than_ours_reads_sound_files_and_blames_none(tmp_path: Path) -> None:
    big = tmp_path / "big.csv"
    big.write_text("id,name\n" + "".join(f"{number},{os.urandom(12).hex()}\n" for number in range(150_000)))
    command = [sys.executable, "-c", LIMITED, str(tmp_path), str(big)]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    read, *problem = done.stdout.splitlines()
    assert read == "2 2", done.stderr[-800:]
    assert "it needs more than the 1,048,576 bytes that a process may write into a file here" in problem[0]


def test_what_fails_only_after_other_files_is_read_by_a_fresh_process(faulty: Reading) -> None:
    assert faulty.rows(GOOD) == 2
    first = faulty.pid
    assert faulty.rows(GOOD + "3,SECOND\n") == 3
    assert faulty.pid != first


def test_what_is_not_the_files_fault_is_no_refusal(faulty: Reading) -> None:
    for content, sentence in {"KILL": "is the machine short of memory", "DISK": "no space left on the disk"}.items():
        with pytest.raises(OSError, match=sentence):
            faulty.rows(f"id,name\n1,{content}\n")
    with pytest.raises(FileNotFoundError):
        faulty.reader.write(
            DATASET,
            faulty.folder / "gone.csv",
            faulty.folder / "out",
            "gone.csv",
            known_columns={},
            headers={},
            load_id="load",
        )


def test_a_file_that_never_ends_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FileReader, "module", FAULTY)
    with FileReader(first_seconds=1) as reader:
        reading = Reading(tmp_path, reader)
        assert reading.refusal("id,name\n1,HANG\n") == "reading it takes more than 1 seconds"


def test_the_process_sees_no_credential_and_ends_with_its_owner(
    faulty: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEHOUSE_S3_SECRET_ACCESS_KEY", "secret")
    seen = faulty.refusal("id,name\n1,ENVIRONMENT\n").split()
    assert set(seen) <= {"PATH", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PYTHONPATH", "HOME"}
    process = faulty.reader._process
    assert process is not None and process.stdin is not None
    process.stdin.close()  # as when we are killed
    assert process.wait(20) == 0


@pytest.mark.slow
def test_a_file_that_crashes_the_reader_costs_the_load_nothing_else(
    loader: Loader, landing: Callable[[str], Landing], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FileReader, "module", FAULTY)
    events = landing("ecommerce")
    line = "1,7,purchase,2024-01-01 10:00:00,1.00,A1,S1,{}\n"
    header = "event_id,user_id,event_type,event_timestamp,revenue,invoice,sku,country\n"
    crashing = events.write("b_events.csv", header + line.format("CRASH"))
    good = [events.write(f"{name}_events.csv", header + line.format("France")) for name in "ac"]
    report = loader.load_files(ecommerce, [good[0], crashing, good[1]])
    assert report.loaded == {"a_events.csv": 1, "c_events.csv": 1}
    assert [str(failure) for failure in report.failures] == [
        "ecommerce/b_events.csv: it crashed the reader (signal 11, Segmentation fault)"
    ]
    assert not report.failures[0].unreachable
    assert loader.value("SELECT count(*) FROM raw.ecommerce__events") == 2


MEASURED = """
import json, resource, sys
from pathlib import Path
from dlt_sources.landing.checking import check
from dlt_sources.datasets import dataset
from dlt_sources.landing.file_reader import FileReader
from dlt_sources.landing.typed_parquet import UnusableFile

events, told = dataset("ecommerce"), {}
with FileReader() as reader:
    for path in map(Path, sys.argv[1:]):
        try:
            told[path.name] = check(reader, events, path, path.name, events.table.column_types, None)
        except UnusableFile as error:
            told[path.name] = str(error)
print(json.dumps([told, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024]))
"""


@pytest.mark.proof  # two gigabytes of it
def test_files_that_unfold_or_never_break_a_line_take_less_than_a_gigabyte(tmp_path: Path) -> None:
    header = "event_id,user_id,event_type,event_timestamp,revenue,invoice,sku,country\n"
    long, bomb = tmp_path / "long_events.csv", tmp_path / "bomb_events.parquet"
    with long.open("w") as file:
        file.write(header + '1,7,"')
        for _ in range(200):
            file.write("x" * 1_000_000)
    columns = {"event_type": "p", "event_timestamp": "2024-01-01", "revenue": "1", "country": "x" * 100_000_000}
    table = pa.table({"event_id": [1] * 7, **{name: [value] * 7 for name, value in columns.items()}})
    pq.write_table(table, bomb, compression="zstd", use_dictionary=False)
    assert bomb.stat().st_size < 1_000_000
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(long), str(bomb)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    told, peak_mb = json.loads(done.stdout)
    assert told == {
        long.name: "line 2 is longer than 2,000,000 bytes: is a quote missing?",
        bomb.name: "reading it takes more memory than a file may have: split it, or shorten its values",
    }
    assert peak_mb < 1000
