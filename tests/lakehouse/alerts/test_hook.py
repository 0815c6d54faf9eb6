"""A message arrives once, holds no secret, and a receiver that fails never fails anything."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from lakehouse import settings as settings_module
from lakehouse.cli.alerts import app
from lakehouse.settings import Settings, SettingsError, load_settings
from lakehouse.upkeep.alerts import hook
from lakehouse.upkeep.alerts.hook import post, send
from lakehouse.upkeep.alerts.message import Alert, masked, payload
from tests.webhook import Webhook, receiving

ALERT = Alert("job ingest", "the portal is away", "error", "prod", "http://127.0.0.1:3000/runs/1", {"run": "1"})


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    monkeypatch.setattr(hook, "WAITS_SECONDS", (0.0, 0.0))
    with receiving() as found:
        yield found


def settings(url: str) -> Settings:
    return Settings(alert_webhook_url=url, s3_secret_access_key="a-secret-of-ours", query_token="another secret")


def test_a_message_has_the_shape_that_chat_programs_take(webhook: Webhook) -> None:
    assert send(settings(webhook.url), ALERT)
    (message,) = webhook.messages
    assert message["text"].splitlines() == [
        "[error] job ingest in prod", "the portal is away", "run: 1", "http://127.0.0.1:3000/runs/1"
    ]  # fmt: skip
    assert (message["level"], message["subject"], message["fields"]) == ("error", "job ingest", {"run": "1"})


@pytest.mark.parametrize(("answers", "calls", "arrives"), [
    ([500, 429], 3, True), ([503, 503, 503], 3, False), ([404], 1, False), ([302], 1, False)
])  # fmt: skip
def test_what_may_pass_is_tried_again_and_nothing_else(
    webhook: Webhook, answers: list[int], calls: int, arrives: bool
) -> None:
    webhook.answers = [*answers]
    assert send(settings(webhook.url), ALERT) is arrives
    assert webhook.calls == calls and len(webhook.messages) == arrives


def test_a_receiver_that_is_away_is_logged_without_its_address(
    webhook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    away = "http://127.0.0.1:1/services/T0SECRET"
    assert not send(settings(away), ALERT)
    webhook.answers = [500, 500, 500]
    assert not send(settings(webhook.url), ALERT)
    assert "the portal is away" in caplog.text  # the log has the message in any case
    assert "can't be reached" in caplog.text and "it answers 500" in caplog.text
    assert "T0SECRET" not in caplog.text
    assert post("http://[broken", {}) and post("http://127.0.0.1:99999/x", {})


SECRET = "s3cr3t/w@rd"


@pytest.mark.parametrize("text", [
    f"connection to postgresql://ann:{SECRET}@db:5432/lake failed",
    f"ATTACH 'ducklake:postgres:dbname=lake host=db password={SECRET}' failed",
    f"password='{SECRET} with spaces' in keywords",
    f'{{"aws_secret_access_key": "{SECRET}"}}',
    f"CREATE SECRET (TYPE s3, KEY_ID 'AKIAABCDEFGHIJKLMNOP', SECRET '{SECRET}')",
    f"Authorization: Bearer {SECRET}",
    f"GET https://portal/x?$$app_token={SECRET}&a=1 answered 403",
    f"GET https://bucket/x?X-Amz-Signature={SECRET}",
    "a-secret-of-ours and another secret",
    f"posting to https://hooks.slack.com/services/{SECRET}",
])  # fmt: skip
def test_no_secret_is_in_a_message(text: str) -> None:
    said = str(payload(Alert(text, text, url=text, fields={"x": text}), settings("http://h/T0SECRET")))
    for secret in (SECRET, "s3cr3t", "a-secret-of-ours", "another secret", "AKIAABCDEFGHIJKLMNOP"):
        assert secret not in said, said


def test_what_is_no_secret_stays() -> None:
    text = "model marts.x: audit not_null(token) found 3 rows at http://127.0.0.1:3000/runs/1, keys: 5"
    assert masked(text, settings("")) == text


def test_the_address_is_a_secret_setting_and_must_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_ALERT_WEBHOOK_URL", "ftp://hooks/T0SECRET")
    load_settings.cache_clear()
    with pytest.raises(SettingsError, match="LAKEHOUSE_ALERT_WEBHOOK_URL: must look like https") as caught:
        load_settings()
    assert "T0SECRET" not in str(caught.value) + repr(settings("http://h/T0SECRET"))
    load_settings.cache_clear()


def test_a_test_message_says_whether_it_arrived(webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_ALERT_WEBHOOK_URL", webhook.url)
    settings_module.load_settings.cache_clear()
    done = CliRunner().invoke(app, ["alert-test"])
    assert done.exit_code == 0 and "[info] test" in webhook.texts[0]
    webhook.answers = [404]
    done = CliRunner().invoke(app, ["alert-test"])
    settings_module.load_settings.cache_clear()
    assert done.exit_code == 1 and "T0SECRET" not in done.output
