"""The transcript in docs/your-own-data.md: its commands, run as they stand there, say what it says that they say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from lakehouse.settings import PROJECT_ROOT
from tests.databases import create_database
from tests.lakehouse_instance import LINKED, TOOLS, LakehouseInstance, bare_environment
from tests.sources.newcomer import TOKEN, fill_database, serve_api, write_exports

DOCUMENT = PROJECT_ROOT / "docs" / "your-own-data.md"
LIMIT_SECONDS = 900
TYPED = {"source add erp": "\n", "source add support": f"\n{TOKEN}\n"}
"""What a newcomer answers; the suggestions are good."""


def transcript() -> Iterator[tuple[str, list[str]]]:
    """Each command of the document's consoles, with what stands under it."""
    for block in re.findall(r"^```console\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = step.partition("\n")
            if "<<" in command:
                text, end, shown = shown.partition("\nSQL\n")
                command += f"\n{text}{end}"
            yield command, shown.splitlines()


def test_every_command_of_the_transcript_is_one_that_is_there() -> None:
    words = {" ".join(command.split()[:2]) for command, _ in transcript()}
    assert {"lakehouse source", "lakehouse upload", "lakehouse model", "lakehouse deploy", "lakehouse query"} <= words


@pytest.fixture
def project(new_lakehouse: Callable[[], LakehouseInstance]) -> LakehouseInstance:
    """A copy of the project, which may be changed, with the demo's lake."""
    lakehouse = new_lakehouse()
    for name in LINKED:
        (lakehouse.project / name).unlink()
        path, ignored = PROJECT_ROOT / name, shutil.ignore_patterns("__pycache__", ".cache", "logs")
        shutil.copytree(path, lakehouse.project / name, ignore=ignored) if path.is_dir() else shutil.copy(
            path, lakehouse.project
        )
    return lakehouse


@pytest.mark.proof  # 80 s of a processor for the demo, 120 s for the transcript
def test_the_transcript_is_true(project: LakehouseInstance, server_url: str) -> None:
    database, exports = create_database(server_url, "erp"), project.root / "exports"
    fill_database(database)
    write_exports(exports)
    environment = {**bare_environment(), **project.variables, "PYTHONPATH": str(project.project), "COLUMNS": "120"}
    environment.pop("DLT_PROJECT_DIR", None)  # what this process has imported set it, to this project's own

    def run(command: str) -> str:
        typed = next((text for words, text in TYPED.items() if words in command), "")
        started, before = time.monotonic(), os.times()
        done = subprocess.run(
            ["bash", "-c", f". '{TOOLS / 'activate'}' && {command}"], env=environment, cwd=project.project,
            input=typed, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LIMIT_SECONDS,
            start_new_session=True, check=False,  # without a terminal a password is read from what is piped in
        )  # fmt: skip
        after = os.times()
        used = after.children_user + after.children_system - before.children_user - before.children_system
        first = command.splitlines()[0]
        print(f"{time.monotonic() - started:6.1f} s, {used:5.1f} s of a processor: {first}", flush=True)
        assert done.returncode == 0, f"{first}\n{done.stdout}"
        assert TOKEN not in done.stdout
        return done.stdout

    run("lakehouse demo")
    with serve_api() as api:
        for command, shown in transcript():
            command = command.replace("postgresql://ann@db.example.com/erp", f"'{database}'")
            command = command.replace("https://api.example.com", api).replace("~/exports", str(exports))
            said = " ".join(run(command).split())
            for line in shown:
                expected = ".*".join(re.escape(" ".join(part.split())) for part in line.split("…"))
                assert re.search(expected, said), f"{command.splitlines()[0]}\nis to say: {line}\nand says: {said}"
