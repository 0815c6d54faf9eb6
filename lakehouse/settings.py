"""Every setting, its default and its meaning. Nothing else reads settings from the environment or `.env`."""

from __future__ import annotations

import difflib
import ipaddress
import os
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from lakehouse.errors import LakehouseError

PROJECT_ROOT = Path(__file__).resolve().parent.parent
ENV_FILE = PROJECT_ROOT / ".env"
PREFIX = "LAKEHOUSE_"


class SettingsError(LakehouseError):
    """A setting is wrong or unknown; the message names it, what was found and what to do."""

    exit_code = 2


class Settings(BaseSettings):
    """The lakehouse's settings, from the environment first, then from `.env` at the project's root, then from files.

    A setting's environment variable is its name in upper case behind `LAKEHOUSE_`; a file of that name in SECRETS_DIR,
    in upper or lower case, holds a value that shall stand in no environment.
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
    secrets_dir: Path = Field(
        Path("/run/secrets"),
        description="Folder of files that each hold one setting and are named as it: secrets of Docker or Kubernetes.",
    )
    storage: str = Field(
        "",
        description="Where the lake's Parquet files, the landing and the published zone lie: "
        "an absolute folder, or s3://bucket/prefix. Empty: `storage` inside DATA_DIR.",
    )
    s3_endpoint: str = Field("", description="Address of an S3 store that is not Amazon's, such as http://host:8333.")
    s3_region: str = Field("us-east-1", description="Region of the bucket.")
    s3_access_key_id: str = Field(
        "", description="Access key for STORAGE. Empty: what the AWS tools find (roles, profiles)."
    )
    s3_secret_access_key: SecretStr = Field(SecretStr(""), description="Its secret.")
    postgres_url: SecretStr = Field(
        SecretStr(""),
        description="postgresql://user:password@host:port/database for the catalog, SQLMesh's state, Dagster's "
        "storage and the ledger (a schema each). Empty: an embedded PostgreSQL inside DATA_DIR.",
    )
    postgres_password: SecretStr = Field(
        SecretStr(""), description="The password for POSTGRES_URL where none stands in it: of any characters."
    )
    memory_limit: Annotated[str, Field(pattern=r"^\d+(\.\d+)?\s?(MB|GB|MiB|GiB)$")] = Field(
        "1GB", description="Memory that DuckDB may use in one process."
    )
    threads: Annotated[int, Field(ge=1, le=256)] = Field(
        os.cpu_count() or 2, description="Threads that DuckDB may use in one process. Default: the cores."
    )
    concurrent_runs: Annotated[int, Field(ge=1, le=1_000)] = Field(
        4, description="How many runs are at work at once. With WORKERS: no more than they have slots together."
    )
    workers: Literal["", "celery"] = Field(
        "",
        description="Who executes runs. celery: `lakehouse worker` on any host, by BROKER_URL. Empty: this machine.",
    )
    broker_url: SecretStr = Field(
        SecretStr(""), description="The workers' broker: redis://:password@host:6379/0, or another that Celery knows."
    )
    webserver_host: str = Field("127.0.0.1", description="Address on which `make up` serves the Dagster web UI.")
    webserver_port: Annotated[int, Field(ge=1, le=65535)] = Field(3000, description="Its port.")
    webserver_names: Annotated[str, Field(pattern=r"^([A-Za-z0-9_.-]+(, ?[A-Za-z0-9_.-]+)*)?$")] = Field(
        "",
        description="Host names, separated by commas, that it, the dashboard and, without a token, the query service "
        "answer to beside localhost and addresses.",
    )
    lock_timeout_seconds: Annotated[float, Field(gt=0)] = Field(
        3600.0, description="How long a load, run or deploy waits for another writer before it gives up."
    )
    releases_kept: Annotated[int, Field(ge=1, le=10_000)] = Field(
        20, description="How many releases of each environment stay readable."
    )
    release_docs: bool = Field(
        True, description="Whether every release carries its documentation site in the published zone."
    )
    release_approval: bool = Field(
        False, description="Whether a release of prod waits for a second person: `lakehouse release approve`."
    )
    history_days: Annotated[float, Field(ge=0, le=36_500)] = Field(
        7.0, description="How many days the lake's earlier states stay; maintenance forgets older ones."
    )
    runs_kept_days: Annotated[float, Field(ge=1, le=36_500)] = Field(
        90.0, description="How many days Dagster's runs stay whose assets were all materialized again since."
    )
    query_host: str = Field("127.0.0.1", description="Address on which the query service listens.")
    query_port: Annotated[int, Field(ge=1, le=65535)] = Field(8010, description="Its port.")
    query_token_required: bool | None = Field(
        None, description="Whether the query service asks for a token. Empty: only when QUERY_HOST is not loopback."
    )
    query_workers: Annotated[int, Field(ge=1, le=256)] = Field(
        os.cpu_count() or 2, description="Worker processes: how many statements run at once. Default: the cores."
    )
    query_queue: Annotated[int, Field(ge=0, le=100_000)] = Field(
        64, description="How many calls may wait for a worker; more are told to come again (429)."
    )
    query_seconds: Annotated[float, Field(gt=0, le=86_400)] = Field(
        30.0, description="How long one statement may run, and how long a call may wait for a worker."
    )
    query_rows: Annotated[int, Field(ge=1)] = Field(1_000_000, description="The most rows that one answer may have.")
    query_mb: Annotated[int, Field(ge=1)] = Field(256, description="The most megabytes that one answer may have.")
    query_memory_mb: Annotated[int, Field(ge=64)] = Field(
        1024, description="Megabytes of memory that one statement may take; the operating system holds it."
    )
    query_cache_mb: Annotated[int, Field(ge=0)] = Field(
        64, description="Megabytes of answers that the query service keeps; 0 keeps none."
    )
    query_connections: Annotated[int, Field(ge=1, le=100_000)] = Field(
        1_000, description="How many connections the query service has at once; never more than descriptors are left."
    )
    query_connections_per_address: Annotated[int, Field(ge=1, le=100_000)] = Field(
        250, description="How many of them come from one address; behind a proxy set it as high as QUERY_CONNECTIONS."
    )
    query_idle_seconds: Annotated[int, Field(ge=1, le=3_600)] = Field(
        20, description="How long a connection may wait for its next call."
    )
    query_client_seconds: Annotated[float, Field(gt=0, le=3_600)] = Field(
        10.0, description="How long a caller may take to send a head, to send a body, and to read 64 KB of an answer."
    )
    query_postgres_host: str = Field(
        "127.0.0.1", description="Address on which the query service listens for PostgreSQL's clients."
    )
    query_postgres_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        8432, description="Its port; 0 listens for none of them."
    )
    query_postgres_tls_certificate: str = Field(
        "",
        description="File of the certificate (PEM, with its chain) for PostgreSQL's clients. Empty: no TLS.",
    )
    query_postgres_tls_key: str = Field("", description="File of its key. Empty: it stands in the certificate's.")
    query_postgres_tls_required: bool | None = Field(
        None,
        description="Whether PostgreSQL's clients must use TLS. Empty: unless QUERY_POSTGRES_HOST is loopback.",
    )
    query_postgres_idle_seconds: Annotated[int, Field(ge=1, le=864_000)] = Field(
        3_600, description="How long a PostgreSQL client's connection may wait for its next statement."
    )
    query_s3_access_key_id: str = Field(
        "", description="Access key that can only read the published zone, for the query service. Empty: STORAGE's."
    )
    query_s3_secret_access_key: SecretStr = Field(SecretStr(""), description="Its secret.")
    query_url: str = Field(
        "",
        description="Where `lakehouse query` and the dashboard ask. Empty: the command asks in its own process, the "
        "dashboard the service on QUERY_HOST and QUERY_PORT.",
    )
    query_token: SecretStr = Field(
        SecretStr(""), description="The token that they send, where the service asks for one."
    )
    dashboard_port: Annotated[int, Field(ge=1, le=65535)] = Field(
        8501, description="Port of the dashboard, on QUERY_HOST."
    )
    alert_webhook_url: SecretStr = Field(
        SecretStr(""),
        description="Where a message is posted when a run fails, an asset is late or a service ends, and when it is "
        "well again: an incoming webhook of Slack, Teams or Mattermost. Empty: messages go into the logs.",
    )

    openlineage: str = Field(
        "",
        description="Where OpenLineage events of ended runs go: the address of a service that takes them "
        "(http://host:5000), or a file. Empty: nowhere.",
    )
    openlineage_api_key: SecretStr = Field(SecretStr(""), description="The key that the service asks for.")

    @field_validator("openlineage")
    @classmethod
    def _openlineage(cls, value: str) -> str:
        if "://" not in value:
            path = Path(value).expanduser()
            return str(path if path.is_absolute() else PROJECT_ROOT / path) if value else ""
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise ValueError("must look like https://host/path, with the key in OPENLINEAGE_API_KEY, or be a file")
        return value

    @field_validator("data_dir", "secrets_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        value = value.expanduser()
        return value if value.is_absolute() else PROJECT_ROOT / value

    @field_validator("storage")
    @classmethod
    def _storage(cls, value: str) -> str:
        if "://" in value:
            parts = urlsplit(value)
            if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
                raise ValueError("must be an absolute folder, or look like s3://bucket/prefix")
            return value.rstrip("/")
        if value and not Path(value).expanduser().is_absolute():
            raise ValueError("must be an absolute folder, since processes have different working directories")
        return str(Path(value).expanduser()) if value else value

    @field_validator("s3_endpoint", "query_url")
    @classmethod
    def _endpoint(cls, value: str) -> str:
        if value and urlsplit(value).scheme not in ("http", "https"):
            raise ValueError("must look like http://host:port or https://host")
        return value.rstrip("/")

    @field_validator("alert_webhook_url")
    @classmethod
    def _webhook(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        if text and (urlsplit(text).scheme not in ("http", "https") or not urlsplit(text).hostname):
            raise ValueError("must look like https://host/path")
        return value

    @field_validator("s3_access_key_id", "s3_secret_access_key", "query_s3_access_key_id", "query_s3_secret_access_key")
    @classmethod
    def _s3_key(cls, value: str | SecretStr) -> str | SecretStr:
        # dlt 1.31 and SQLMesh 0.236 put them between quotes as they are; a broken statement would show them.
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if set(text) & set("'\"\\") or not text.isprintable():
            raise ValueError("must have no quote, backslash or control character: no S3 store makes such keys")
        return value

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
    def storage_uri(self) -> str:
        """The storage: an absolute folder or `s3://bucket/prefix`, without a slash at its end."""
        return self.storage or str(self.data_dir / "storage")

    @property
    def stores_on_s3(self) -> bool:
        """Whether the storage is an object store rather than a folder."""
        return self.storage.startswith("s3://")

    @property
    def lake_uri(self) -> str:
        """DuckLake's data path."""
        return f"{self.storage_uri}/lake"

    @property
    def landing_uri(self) -> str:
        """The landing zone: one folder a dataset."""
        return f"{self.storage_uri}/landing"

    @property
    def own_names(self) -> list[str]:
        """The host names of WEBSERVER_NAMES, and what is listened on, which may be names."""
        given = (name.strip() for name in self.webserver_names.split(",") if name)
        return list(dict.fromkeys([self.webserver_host, self.query_host, *given]))

    @property
    def query_service_url(self) -> str:
        """Where the query service is reached: QUERY_URL, or the one that this machine serves."""
        return self.query_url or f"http://{reachable(self.query_host)}:{self.query_port}"

    @property
    def pipelines_dir(self) -> Path:
        """dlt's working files. Durable: pending load packages live here."""
        return self.data_dir / "dlt"

    @property
    def cache_dir(self) -> Path:
        """What can be made again: extension links, manifests."""
        return self.data_dir / "cache"

    @property
    def throw_away_dir(self) -> Path:
        """Folders of the lake in this process's memory that a pull request's models are planned against."""
        return self.cache_dir / f"throw_away_{os.getpid()}"


def _secrets_dir() -> Path | None:
    """Where files with secrets lie, if there are any. A default that we may not look into is somebody else's."""
    name = f"{PREFIX}SECRETS_DIR"
    given = os.environ.get(name) or (dotenv_values(ENV_FILE).get(name) if ENV_FILE.exists() else None)
    if given:
        folder = PROJECT_ROOT / Path(given).expanduser()
        if not folder.is_dir():
            raise SettingsError(f"{name}: there is no folder {Path(given).expanduser()}.")
        return folder
    folder = Path(str(Settings.model_fields["secrets_dir"].default))
    try:
        next(folder.iterdir(), None)
    except OSError:
        return None
    return folder


def _unknown_names(secrets_dir: Path | None) -> list[str]:
    """Variables and files that carry our prefix but name no setting, with the nearest setting where there is one."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    given = {*os.environ, *dotenv_values(ENV_FILE)} if ENV_FILE.exists() else {*os.environ}
    given |= {file.name.upper() for file in secrets_dir.iterdir()} if secrets_dir else set()
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
    try:
        secrets_dir = _secrets_dir()
        unknown = _unknown_names(secrets_dir)
        if unknown:
            raise SettingsError("\n".join(unknown) + "\n.env.example lists every setting.")
        return Settings(_secrets_dir=secrets_dir)  # type: ignore[call-arg]
    except OSError as error:
        raise SettingsError(f"The settings can't be read: {error.filename}: {error.strerror}.") from None
    except ValidationError as error:
        lines = [
            f"{PREFIX}{str(item['loc'][0]).upper()}: {item['msg'].removeprefix('Value error, ')}."
            for item in error.errors(include_input=False, include_url=False)
        ]
        raise SettingsError("\n".join(lines) + "\n.env.example lists every setting.") from None


def make_private(folder: Path) -> None:
    """Create a folder that nobody but this user (and root) may look into. One that is there keeps its rights."""
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)


def reachable(host: str) -> str:
    """The host part of an address that reaches what listens on `host`: this machine's own for "everywhere"."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]" if ":" in host else host


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host.lower() == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False
