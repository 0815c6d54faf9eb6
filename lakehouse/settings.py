"""Every setting, its default and its meaning. Nothing else reads the environment or `.env`."""

from __future__ import annotations

import difflib
import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT_ROOT = Path(__file__).resolve().parent.parent
ENV_FILE = PROJECT_ROOT / ".env"
PREFIX = "LAKEHOUSE_"


class SettingsError(Exception):
    """A setting is wrong or unknown; the message names it, what was found and what to do."""


class Settings(BaseSettings):
    """The lakehouse's settings, read from the environment first, then from `.env` at the project's root.

    A setting's environment variable is its name in upper case behind `LAKEHOUSE_`.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=ENV_FILE, extra="ignore", frozen=True, env_ignore_empty=True
    )

    environment: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")] = Field(
        "prod", description="Whose view of the lake this code location shows: prod, qa, dev_<name>."
    )
    data_dir: Path = Field(
        PROJECT_ROOT / "data",
        description="Folder of everything that is kept on this machine: the embedded PostgreSQL, "
        "dlt's working files, caches and, unless STORAGE says otherwise, the lake's files.",
    )
    storage: str = Field(
        "",
        description="Where the lake's Parquet files, the landing and the published zone lie: "
        "an absolute folder. Empty: `storage` inside DATA_DIR.",
    )
    postgres_url: SecretStr = Field(
        SecretStr(""),
        description="postgresql://user:password@host:port/database for the catalog, SQLMesh's state, Dagster's "
        "storage and the ledger (a schema each). Empty: an embedded PostgreSQL inside DATA_DIR.",
    )
    memory_limit: Annotated[str, Field(pattern=r"^\d+(\.\d+)?\s?(MB|GB|MiB|GiB)$")] = Field(
        "1GB", description="Memory that DuckDB may use in one process."
    )
    threads: Annotated[int, Field(ge=1, le=256)] = Field(
        os.cpu_count() or 2, description="Threads that DuckDB may use in one process. Default: the cores."
    )
    webserver_host: str = Field("127.0.0.1", description="Address on which `make up` serves the Dagster web UI.")
    webserver_port: Annotated[int, Field(ge=1, le=65535)] = Field(3000, description="Its port.")
    lock_timeout_seconds: Annotated[float, Field(gt=0)] = Field(
        3600.0, description="How long a load, run or deploy waits for another writer before it gives up."
    )
    nyc_collisions_url: str = Field(
        "https://data.cityofnewyork.us", description="The open-data portal that serves the collisions."
    )
    nyc_collisions_app_token: SecretStr = Field(
        SecretStr(""), description="Application token for that portal. Optional; it only raises the rate limit."
    )
    nyc_collisions_since: str = Field(
        "", description="Load only crashes that happened since this date (YYYY-MM-DD). Empty: all."
    )

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        value = value.expanduser()
        return value if value.is_absolute() else PROJECT_ROOT / value

    @field_validator("storage")
    @classmethod
    def _storage(cls, value: str) -> str:
        if "://" in value:
            raise ValueError("object stores are not supported yet: give an absolute folder")
        if value and not Path(value).expanduser().is_absolute():
            raise ValueError("must be an absolute folder, since processes have different working directories")
        return str(Path(value).expanduser()) if value else value

    @field_validator("postgres_url")
    @classmethod
    def _postgres(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        if text:
            parts = urlsplit(text)
            if parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/"):
                raise ValueError("must look like postgresql://user:password@host:5432/database")
        return value

    @property
    def dagster_home(self) -> Path:
        """Dagster's own folder: DAGSTER_HOME, or the project's."""
        return Path(os.environ.get("DAGSTER_HOME") or PROJECT_ROOT / "dagster_home")

    @property
    def storage_dir(self) -> Path:
        """The storage as a folder."""
        return Path(self.storage) if self.storage else self.data_dir / "storage"

    @property
    def lake_dir(self) -> Path:
        """DuckLake's data path."""
        return self.storage_dir / "lake"

    @property
    def landing_dir(self) -> Path:
        """The landing zone: one folder a dataset."""
        return self.storage_dir / "landing"

    @property
    def pipelines_dir(self) -> Path:
        """dlt's working files. Durable: pending load packages live here."""
        return self.data_dir / "dlt"

    @property
    def cache_dir(self) -> Path:
        """What can be made again: extension links, manifests."""
        return self.data_dir / "cache"


def _unknown_names() -> list[str]:
    """Variables that carry our prefix but name no setting, with the nearest setting where there is one."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    given = {*os.environ, *dotenv_values(ENV_FILE)} if ENV_FILE.exists() else {*os.environ}
    sentences = []
    for name in sorted(name for name in given if name.startswith(PREFIX) and name not in known):
        near = difflib.get_close_matches(name, known, n=1)
        sentences.append(f"{name} is not a setting" + (f"; did you mean {near[0]}?" if near else "."))
    return sentences


@lru_cache(maxsize=1)
def load_settings() -> Settings:
    """The settings of this process.

    Raises:
        SettingsError: a value does not fit or a name is unknown. The value itself is never shown.
    """
    unknown = _unknown_names()
    if unknown:
        raise SettingsError("\n".join(unknown) + "\n.env.example lists every setting.")
    try:
        return Settings()
    except ValidationError as error:
        lines = [
            f"{PREFIX}{str(item['loc'][0]).upper()}: {item['msg'].removeprefix('Value error, ')}."
            for item in error.errors(include_input=False, include_url=False)
        ]
        raise SettingsError("\n".join(lines) + "\n.env.example lists every setting.") from None


def child_environment(settings: Settings, extra: dict[str, str] | None = None) -> dict[str, str]:
    """The environment of a Dagster process that we start: ours, with Dagster's home named."""
    return {
        **os.environ,
        "DAGSTER_HOME": str(settings.dagster_home),
        # Thousands of partitions computed in one run are written in batches.
        "DAGSTER_EVENT_BATCH_SIZE": "1000",
        **(extra or {}),
    }
