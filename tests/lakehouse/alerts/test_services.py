"""A service that dies under `lakehouse up` is told to the webhook, and the supervisor does not wait for it."""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Console

from lakehouse.services.supervisor import Service, supervise
from lakehouse.services.up import _say
from lakehouse.settings import Settings
from tests.webhook import receiving


def test_a_service_that_died_and_was_started_again_is_told(tmp_path: Path) -> None:
    service = Service("daemon", ["sleep", "60"], tmp_path / "log", dict(os.environ), tmp_path)

    def kill() -> None:
        assert service.process is not None
        service.process.kill()

    with receiving() as webhook, open(os.devnull, "w") as nowhere:
        settings = Settings(data_dir=tmp_path, alert_webhook_url=webhook.url)
        supervise(
            [service], lambda: bool(webhook.messages), ready=kill, ended=lambda: None,
            say=lambda text: _say(settings, Console(file=nowhere), text),
        )  # fmt: skip
    assert webhook.texts == [
        "[warning] services in prod\n"
        f"the daemon ended (exit code -9); starting it again. Logs: {tmp_path / 'logs'}"
    ]  # fmt: skip
    assert len(service.starts) == 2
