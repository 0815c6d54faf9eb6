"""Where an ordinary source's settings and secrets come from, and how its secrets are kept out of what is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from dlt.common.configuration.container import Container
from dlt.common.configuration.exceptions import ConfigFieldMissingException
from dlt.common.configuration.providers.provider import ConfigProvider
from dlt.common.configuration.specs.base_configuration import is_secret_hint
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
from dotenv import dotenv_values
from sqlalchemy.dialects import registry

import lakehouse.settings
from lakehouse.demo.feed import feed_settings
from lakehouse.settings import Settings

SECRET_WORDS = ("password", "secret", "token", "api_key", "credentials", "private")
SHORTEST_SECRET = 4
"""A shorter text is no secret, and to cut it out would spoil every sentence."""
for address in ("mysql", "mariadb", "mysql.pymysql", "mariadb.pymysql"):
    registry.register(address, "lakehouse_assets.defs.ingestion.mysql_dialect", "MySQLDialect")


class SourceSettings(ConfigProvider):
    """`sources.<file>.<key>`, whatever dlt calls the kind of source: two databases have settings of their own.

    Asks dlt's own providers (environment, .dlt/secrets.toml, .dlt/config.toml), then `.env` and the folder of secrets,
    last `demo`, what the demo's lake goes on with. Remembers what is secret.
    """

    name = "source file"
    supports_secrets = True
    supports_sections = True

    def __init__(
        self, source: str, others: Sequence[ConfigProvider], folder: Path, demo: Callable[[str], str | None]
    ) -> None:
        self.source = source
        self.others = others
        self.folder = folder
        self.demo = demo
        self.secrets: set[str] = set()

    def get_value(self, key: str, hint: type[Any], pipeline_name: str | None, *sections: str) -> tuple[Any | None, str]:
        """The value under the file's name instead of the kind's."""
        if sections[:1] != ("sources",) or len(sections) < 2:
            return None, key
        wanted = ("sources", self.source, *(section for section in sections[2:] if section != self.source))
        found: tuple[Any | None, str] = (None, key)
        for provider in self.others:
            found = provider.get_value(key, hint, None, *wanted)
            if found[0] is not None:
                break
        if found[0] is None:
            found = self._from_files("__".join((*wanted, key)).upper())
        if is_secret_hint(hint) or any(word in "_".join((*wanted, key)) for word in SECRET_WORDS):
            self._remember(found[0])
        return found

    def _from_files(self, name: str) -> tuple[str | None, str]:
        if value := self._dotenv.get(name):
            return value, name
        for path in (self.folder / name, self.folder / name.lower()):
            if path.is_file():
                return path.read_text().strip(), name
        return self.demo(name), name

    @cached_property
    def _dotenv(self) -> dict[str, str | None]:
        """Read once: dlt asks for hundreds of values, and taking the file to pieces takes ten milliseconds."""
        return dotenv_values(lakehouse.settings.ENV_FILE)

    def _remember(self, value: Any) -> None:
        if isinstance(value, dict):
            for key, part in value.items():
                if any(word in key for word in SECRET_WORDS):
                    self._remember(part)
        elif value is not None and len(str(value)) >= SHORTEST_SECRET:
            self.secrets.add(str(value))
            if "://" in str(value) and "@" in str(value):
                password = str(value).split("://", 1)[1].rsplit("@", 1)[0].partition(":")[2]
                self.secrets |= {password} if len(password) >= SHORTEST_SECRET else set()

    def without_secrets(self, text: str) -> str:
        """The text with every secret that was asked for so far cut out."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


@contextmanager
def settings_of(source: str, settings: Settings) -> Iterator[SourceSettings]:
    """Let dlt find the settings of this source file inside the block."""
    providers = Container()[PluggableRunContext].providers.providers
    with feed_settings(settings) as demo:
        found = SourceSettings(source, list(providers), settings.secrets_dir, demo)
        providers.insert(0, found)
        try:
            yield found
        finally:
            providers.remove(found)


def missing_setting(source: str, error: BaseException | None) -> str | None:
    """A sentence that names the settings that dlt lacked, where that is what went wrong."""
    while error is not None:
        if isinstance(error, ConfigFieldMissingException):
            names = ", ".join(f"SOURCES__{source.upper()}__{field.upper()}" for field in sorted(error.traces))
            keys = ", ".join(sorted(error.traces))
            return (
                f"{keys} is not set. Nothing was loaded. Set {names} in the environment, or {keys} under "
                f"[sources.{source}] in .dlt/secrets.toml (a secret) or .dlt/config.toml, or put a file of that name "
                "into LAKEHOUSE_SECRETS_DIR."
            )
        error = error.__cause__ or error.__context__
    return None
