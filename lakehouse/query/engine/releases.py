"""Which release a call reads: the one that readers get, looked up again twice a second, or one that was asked for."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from lakehouse.query.engine.calls import RELEASE
from lakehouse.query.engine.problems import QueryError
from lakehouse.query.engine.sights import Sights, View, narrowed, views_of
from lakehouse.releases.frozen import attach_statement
from lakehouse.releases.log import ReleaseError, environment_folder
from lakehouse.releases.manifest import Manifest, PublishedTable, read_manifest
from lakehouse.releases.reading import Reading, find_release, manifest_of
from lakehouse.storage import Storage, StorageError

REFRESH_SECONDS = 0.5
MANIFESTS_KEPT = 64
ENVIRONMENTS_SECONDS = 60.0


@dataclass(frozen=True)
class Source:
    """A release, ready to be read."""

    reading: Reading
    manifest: Manifest
    attach: str
    allowed: str
    sees: Sights | None = None
    """What is seen of it; the manifest holds nothing else. None: all."""

    def seen_by(self, sights: Sights | None) -> Source:
        """The same for who sees no more than that."""
        if sights is None or self.sees == sights:
            return self
        assert self.sees is None, "what is narrowed is not narrowed otherwise"
        return replace(self, manifest=narrowed(self.manifest, sights), sees=sights)

    @property
    def views(self) -> dict[str, View] | None:
        """What a worker makes of it."""
        return None if self.sees is None else views_of(self.manifest, self.sees)

    @property
    def held(self) -> str:
        """`held at N by …`, or nothing; nor to whom not all is shown."""
        return self.reading.held if self.sees is None else ""

    @property
    def served(self) -> list[str]:
        """The tables that it holds, `schema.table`."""
        return [table.name for table in self.manifest.tables]

    @property
    def keys(self) -> dict[str, list[str]]:
        """The grain of each table that has one."""
        return {table.name: list(table.grain) for table in self.manifest.tables if table.grain}

    def about(self) -> dict[str, Any]:
        """What an answer says of where it came from."""
        manifest = self.manifest
        return {"environment": manifest.environment, "release": manifest.number, "cut_at": manifest.cut_at}

    def listing(self) -> dict[str, Any]:
        """The release and its tables, as people want to read them."""
        age = datetime.now(UTC) - datetime.fromisoformat(self.manifest.cut_at)
        return {
            **self.about(),
            "age_seconds": round(age.total_seconds()),
            "held": self.held or None,
            "held_back": list(self.manifest.held),
            "code_version": self.manifest.code_version,
            "tables": [
                {
                    "name": table.name,
                    "description": table.description,
                    "as_of": table.as_of or self.manifest.cut_at,
                    "rows": None if self._filters(table) else table.rows,
                    "bytes": None if self._filters(table) else table.size_bytes,
                    "partitioned_by": list(table.partitioned_by),
                    "grain": list(table.grain),
                    "owner": table.owner,
                    "cron": table.cron,
                    "checks": [dict(check) for check in table.checks],
                    "columns": [
                        {"name": name, "type": kind, "description": text} for name, kind, text in table.columns
                    ],
                }
                for table in sorted(self.manifest.tables, key=lambda table: table.name)
            ],
        }

    def pages(self) -> dict[str, Any]:
        """The pages that a team wrote for the dashboard."""
        return {**self.about(), "pages": [{"name": name, "text": text} for name, text in self.manifest.pages.items()]}

    def _filters(self, table: PublishedTable) -> bool:
        return self.sees is not None and bool(self.sees[table.name].where)


def release_entry(manifest: Manifest, sights: Sights | None) -> dict[str, Any]:
    """One release in a list of them, as it is seen."""
    filtered = sights is not None and any(sight.where for sight in sights.values())
    manifest = manifest if sights is None else narrowed(manifest, sights)
    return {
        "release": manifest.number, "cut_at": manifest.cut_at, "author": manifest.author, "run": manifest.run,
        "code_version": manifest.code_version, "changed": list(manifest.changed), "tables": len(manifest.tables),
        "rows": None if filtered else sum(table.rows for table in manifest.tables),
    }  # fmt: skip


class Releases:
    """The published zone as the service sees it. Read rights there are all it needs."""

    def __init__(self, storage: Storage):
        self.storage = storage
        self._newest: dict[str, tuple[float, Source]] = {}
        self._numbered: OrderedDict[tuple[str, int], tuple[float, Source]] = OrderedDict()
        self._manifests: OrderedDict[str, Manifest] = OrderedDict()
        self._environments: tuple[float, list[str]] = (float("-inf"), [])

    def fresh(self, environment: str, number: int | None) -> Source | None:
        """What `find` would give, when that takes no look at the storage."""
        found = self._newest.get(environment) if number is None else self._numbered.get((environment, number))
        if found and time.monotonic() - found[0] < REFRESH_SECONDS:
            return found[1]
        return None

    def forget(self, environment: str) -> None:
        """Look again: what was known may be gone."""
        self._newest.pop(environment, None)
        self._numbered.clear()

    def find(self, environment: str, number: int | None = None) -> Source:
        """The release that readers get now, or the one with this number.

        Raises:
            QueryError: there is none, or the storage can't be read.
        """
        found = self.fresh(environment, number)
        if found:
            return found
        try:
            reading = find_release(self.storage, environment, number)
            source = self._source(reading)
        except ReleaseError:
            which = f"release {number} of {environment}" if number else f"release of {environment}"
            raise QueryError("not-found", f"There is no {which} (any more).") from None
        except StorageError as error:
            raise QueryError("unavailable", "The published zone can't be read now.") from error
        if number is None:
            self._newest[environment] = (time.monotonic(), source)
        else:
            self._numbered[environment, number] = (time.monotonic(), source)
            while len(self._numbered) > MANIFESTS_KEPT:
                self._numbered.popitem(last=False)
        return source

    def environments(self) -> list[str]:
        """Those with a release, by a look through the whole zone, once a minute at most.

        Raises:
            QueryError: the storage can't be read.
        """
        if time.monotonic() - self._environments[0] > ENVIRONMENTS_SECONDS:
            try:
                keys = [found.key.split("/") for found in self.storage.list("published/")]
            except StorageError as error:
                raise QueryError("unavailable", "The published zone can't be read now.") from error
            found = sorted(key[1] for key in keys if len(key) == 3 and key[2] == "current.json")
            self._environments = time.monotonic(), found
        return self._environments[1]

    def history(self, environment: str) -> Sequence[Manifest]:
        """The releases that are kept, the newest first.

        Raises:
            QueryError: the storage can't be read.
        """
        prefix = f"{environment_folder(environment)}/releases/"
        try:
            folders = {
                found.key.rpartition("/")[0]
                for found in self.storage.list(prefix)
                if found.key.endswith("/manifest.json")
            }
            manifests = [self._manifest(folder) for folder in sorted(folders, reverse=True)]
        except StorageError as error:
            raise QueryError("unavailable", "The published zone can't be read now.") from error
        return [manifest for manifest in manifests if manifest is not None]

    def _source(self, reading: Reading) -> Source:
        manifest = self._manifest(reading.folder) or manifest_of(self.storage, reading)
        address = self.storage.uri_of(f"{environment_folder(reading.environment)}/")
        return Source(reading, manifest, attach_statement(self.storage, reading.folder, RELEASE), address)

    def _manifest(self, folder: str) -> Manifest | None:
        """A release's manifest never changes: read once."""
        known = self._manifests.get(folder)
        if known is None:
            known = read_manifest(self.storage, folder)
            if known is None:
                return None
            self._manifests[folder] = known
            while len(self._manifests) > MANIFESTS_KEPT:
                self._manifests.popitem(last=False)
        return known
