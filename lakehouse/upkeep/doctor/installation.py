"""How it is set: settings, and who may read the secrets of `.env`."""

from __future__ import annotations

import re
from pathlib import Path

from dotenv import dotenv_values

from lakehouse import settings as settings_module
from lakehouse.settings import PROJECT_ROOT, SettingsError, load_settings
from lakehouse.upkeep.doctor.examination import Examination
from lakehouse.upkeep.doctor.findings import Seen, warning, wrong

SECRET = re.compile(r"SECRET|TOKEN|PASSWORD|WEBHOOK|POSTGRES_URL")


def settings_fit(_: Examination) -> Seen:
    """Every setting is known and has a value that fits."""
    try:
        settings = load_settings()
    except SettingsError as error:
        *sentences, _advice = str(error).splitlines()
        return Seen(
            "",
            tuple(
                wrong(
                    sentence,
                    where=f"the environment, or {settings_module.ENV_FILE}",
                    why="Nothing starts with a setting that is wrong or unknown.",
                    do="Correct it; .env.example lists every setting.",
                )
                for sentence in sentences
            ),
        )
    return Seen(f"environment {settings.environment}, storage {settings.storage_uri}")


def dotenv(_: Examination) -> Seen:
    """Nobody else on this machine reads the secrets of `.env`."""
    file = settings_module.ENV_FILE
    if not file.exists():
        return Seen("there is no .env")
    secrets = sorted(name for name, value in dotenv_values(file).items() if value and SECRET.search(name))
    if not secrets:
        return Seen("no secret is in .env")
    if file.stat().st_mode & 0o077:
        return Seen(
            "",
            (
                warning(
                    f".env holds {', '.join(secrets)}, and others may read it",
                    where=str(file),
                    why="Every user and service of this machine can use these secrets.",
                    do=f"chmod 600 {_short(file)}",
                ),
            ),
        )
    return Seen("only its owner reads .env")


def _short(file: Path) -> str:
    return str(file.relative_to(PROJECT_ROOT)) if file.is_relative_to(PROJECT_ROOT) else str(file)
