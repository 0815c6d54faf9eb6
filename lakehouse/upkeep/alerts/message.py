"""What a message says, in the shape that chat programs accept, with no secret in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from lakehouse.settings import Settings

HIDDEN = "…"
SHORTEST_SECRET = 6
"""A shorter one would be hidden inside of words."""
TEXT_CHARACTERS = 2000
SECRET_NAMES = r"password|passwd|pwd|secret\w*|token|api_?key|access_?key\w*|signature|authorization|x-amz-[\w-]+"
PATTERNS = (
    (re.compile(r"(?P<kept>\w+://)[^\s/@'\"]*:[^\s'\"]*@"), r"\g<kept>…@"),  # a password may hold a slash or an @
    (re.compile(r"(?P<kept>https?://hooks\.[^/\s]+/)[^\s'\"]+", re.I), r"\g<kept>…"),
    (re.compile(r"(?P<kept>\bbearer\s+)[\w.~+/=-]+", re.I), r"\g<kept>…"),
    (
        re.compile(
            rf"(?P<kept>\b(?:\w*_)?(?:{SECRET_NAMES})[\"']?\s*[=:]\s*)(?:'(?:\\.|[^'])*'|\"[^\"]*\"|[^\s,;&)]+)", re.I
        ),
        r"\g<kept>…",
    ),
    (re.compile(r"(?P<kept>\b(?:secret|password|session_token)\s+)'(?:''|[^'])*'", re.I), r"\g<kept>…"),  # SQL
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), HIDDEN),
)


@dataclass(frozen=True)
class Alert:
    """One message. `subject` is what it is about: of each only changes are told."""

    subject: str
    text: str
    level: str = "error"  # error, warning, info, recovered
    environment: str = ""
    url: str = ""  # where to look
    fields: Mapping[str, str] = field(default_factory=dict)


def payload(alert: Alert, settings: Settings) -> dict[str, Any]:
    """The JSON that a webhook gets: Slack, Mattermost, Teams and Rocket.Chat show `text`; programs read the rest."""
    where = f" in {alert.environment}" if alert.environment else ""
    title = f"[{alert.level}] {alert.subject}{where}"
    lines = [title, alert.text, *(f"{name}: {value}" for name, value in alert.fields.items()), alert.url]
    text = masked("\n".join(line for line in lines if line), settings)
    return {
        "text": text if len(text) <= TEXT_CHARACTERS else text[:TEXT_CHARACTERS] + " …",
        "level": alert.level,
        "subject": masked(alert.subject, settings),
        "environment": alert.environment,
        "url": masked(alert.url, settings),
        "fields": {name: masked(value, settings) for name, value in alert.fields.items()},
    }


def masked(text: str, settings: Settings) -> str:
    """The text without passwords, keys and tokens: the settings' own, and what looks like one."""
    for secret in sorted(_secrets(settings), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    for pattern, shown in PATTERNS:
        text = pattern.sub(shown, text)
    return text


def _secrets(settings: Settings) -> set[str]:
    own = [getattr(settings, name) for name in type(settings).model_fields]
    found = {value.get_secret_value() for value in own if isinstance(value, SecretStr)}
    return {secret for secret in found if len(secret) >= SHORTEST_SECRET}
