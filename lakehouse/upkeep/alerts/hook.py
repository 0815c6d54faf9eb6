"""Sending: always into the log, and to the webhook. A failure is logged and never raised; the address is a secret."""

from __future__ import annotations

import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException

from lakehouse.settings import Settings
from lakehouse.upkeep.alerts.message import Alert, payload

log = logging.getLogger("lakehouse.upkeep.alerts")
TIMEOUT_SECONDS = 5.0
WAITS_SECONDS = (1.0, 3.0)
"""Before the second and the third try."""
LONGEST_WAIT_SECONDS = 10.0
TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}
LEVELS = {"error": logging.ERROR, "warning": logging.WARNING}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET, and the message be lost without an error."""

    def redirect_request(self, *_: object) -> None:
        return None


def send(settings: Settings, alert: Alert) -> bool:
    """Log the message, and post it where a webhook is set. Gives whether it arrived there."""
    message = payload(alert, settings)
    log.log(LEVELS.get(alert.level, logging.INFO), "%s", message["text"])
    return notify(settings, alert)


def notify(settings: Settings, alert: Alert) -> bool:
    """Post the message where LAKEHOUSE_ALERT_WEBHOOK_URL is set. Gives whether it arrived there.

    Never raises, and takes half a minute at most when the receiver is away.
    """
    url = settings.alert_webhook_url.get_secret_value()
    if not url:
        return False
    problem = post(url, payload(alert, settings))
    if problem:
        log.error("The webhook of LAKEHOUSE_ALERT_WEBHOOK_URL did not take a message: %s. %s", problem, alert.subject)
    return not problem


def post(url: str, message: dict[str, object], wait: Callable[[float], None] = time.sleep) -> str:
    """POST JSON, three times at most. Gives why it failed, without the address; nothing when it arrived."""
    problem = ""
    for pause in (*WAITS_SECONDS, None):
        problem, asked = _once(url, message)
        if asked is None or pause is None:
            break
        wait(min(max(pause, asked), LONGEST_WAIT_SECONDS))
    return problem


def _once(url: str, message: dict[str, object]) -> tuple[str, float | None]:
    """What went wrong, and the seconds after which another try makes sense; None when none does."""
    body = json.dumps(message).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "lakehouse"}
    try:
        # urllib and no client that writes addresses into its own log: this one is a secret.
        request = urllib.request.Request(url, body, headers, method="POST")
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT_SECONDS):
            return "", None
    except urllib.error.HTTPError as error:
        with error:
            after = error.headers.get("Retry-After", "")
        return f"it answers {error.code}", (
            float(after) if after.isdigit() else 0.0
        ) if error.code in TRY_AGAIN else None
    except TimeoutError:
        return f"no answer within {TIMEOUT_SECONDS:g} s", 0.0
    except (OSError, HTTPException) as error:
        # The reason of a connection that failed names no address; other texts might.
        cause = getattr(error, "reason", error)
        return f"it can't be reached ({getattr(cause, 'strerror', None) or type(cause).__name__})", 0.0
    except (ValueError, OverflowError):
        return "its address can't be read", None
