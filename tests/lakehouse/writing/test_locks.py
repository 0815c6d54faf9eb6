"""One writer per pipeline and per environment; a dead one holds nothing."""

import signal
import subprocess
import sys

import pytest

from lakehouse.settings import Settings
from lakehouse.writing.locks import LockTimeoutError, environment_lock, holding, pipeline_lock

HOLD = """
import sys
from lakehouse.settings import load_settings
from lakehouse.writing.locks import holding, pipeline_lock
with holding(load_settings(), [pipeline_lock("taxi")], holder="the other run"):
    print("held", flush=True)
    sys.stdin.read()
"""


def short(settings: Settings) -> Settings:
    return settings.model_copy(update={"lock_timeout_seconds": 0.3})


def test_a_second_writer_waits_and_is_told_for_whom(settings: Settings) -> None:
    said: list[str] = []
    with holding(settings, [pipeline_lock("taxi")], holder="run 1"):
        with pytest.raises(LockTimeoutError, match="pipeline taxi was held by lakehouse run 1 for 0.3 seconds"):
            with holding(short(settings), [pipeline_lock("taxi")], holder="run 2", waiting=said.append):
                pytest.fail("two writers at once")
    assert said == ["waiting for pipeline taxi, held by lakehouse run 1"]


def test_readers_share_a_pipeline_and_keep_its_loader_out(settings: Settings) -> None:
    shared = pipeline_lock("taxi", shared=True)
    with holding(settings, [shared], holder="prod"), holding(settings, [shared], holder="dev"):
        with pytest.raises(LockTimeoutError), holding(short(settings), [pipeline_lock("taxi")], holder="loader"):
            pytest.fail("a load beside its readers")


def test_a_pipeline_and_an_environment_of_one_name_are_two_things(settings: Settings) -> None:
    with (
        holding(settings, [pipeline_lock("x")], holder="a"),
        holding(short(settings), [environment_lock("x")], holder="b"),
    ):
        pass


def test_a_killed_writer_gives_its_lock_back(settings: Settings, lakehouse_environment: dict[str, str]) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD], env=lakehouse_environment, stdin=-1, stdout=-1)
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    with holding(short(settings), [pipeline_lock("taxi")], holder="next"):
        pass
