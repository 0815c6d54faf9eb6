"""A dlt resource for any dataset of any open-data portal that speaks SODA: what changed since the last load.

    crashes = soda("crashes", "https://data.cityofnewyork.us", "h9gi-nx95", columns={"crash_date": "Day."}, key="id")

Every value arrives as the portal sends it, as text. Of the portal's own fields three are kept.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import dlt
import pyarrow as pa
import pyarrow.compute as pc
from dlt.common.json import json
from dlt.common.normalizers.utils import generate_dlt_ids
from dlt.common.typing import TSecretStrValue
from dlt.extract import DltResource

from dlt_sources.soda.client import RequestRefused, Retry, SodaClient
from dlt_sources.soda.pages import pages
from dlt_sources.soda.progress import Progress

logger = logging.getLogger(__name__)
SYSTEM_FIELDS = {":id": "portal_id", ":created_at": "portal_created_at", ":updated_at": "portal_updated_at"}
TIME = pa.timestamp("us", tz="UTC")


class SodaDataset:
    """One dataset of a portal. `resource` is what dlt loads; `count` what the portal counts in the window of a load."""

    def __init__(
        self,
        name: str,
        portal: str,
        dataset_id: str,
        *,
        columns: Mapping[str, str],
        key: str,
        time: str = "",
        description: str = "",
        retry: Retry | None = None,
        page_rows: int = 50_000,
        overlap_seconds: float = 3600,
    ) -> None:
        self.columns = columns
        self.key = key
        self.rows = self.pages = 0
        self.warnings: list[str] = []
        self._asked: tuple[SodaClient, str | None] | None = None

        def read(
            base_url: str = portal, app_token: TSecretStrValue | None = None, since: str | None = None
        ) -> Iterator[pa.Table]:
            client = SodaClient(base_url, dataset_id, app_token, retry or Retry(), self.warnings)
            where = f"{time} >= '{since}T00:00:00.000'" if since and time else None
            self._asked = (client, where)
            progress = Progress.resume(dlt.current.resource_state(), client, where, overlap_seconds, page_rows)
            for rows in pages(client, progress.start, where, page_rows):
                progress.add(rows)
                self.rows += len(rows)
                self.pages += 1
                logger.info("%s: page %d, %d rows so far", name, self.pages, self.rows)
                yield self.as_arrow(rows, dlt.current.load_package_state()["load_id"], dlt.current.source_schema())
            progress.save()

        self.resource: DltResource = dlt.resource(
            read,
            name=name,
            columns=self._hints(),  # type: ignore[arg-type]
            primary_key=key,
            write_disposition="merge",
        )
        self.resource.apply_hints(additional_table_hints={"description": description or name})

    def count(self) -> tuple[int, str] | None:
        """How many rows the portal counts, and which of ours these are; None before a load. Raises SodaError."""
        if self._asked is None:
            return None
        client, where = self._asked
        return client.count(where), where or "true"

    def _hints(self) -> dict[str, Any]:
        text = {"data_type": "text"}
        hints: dict[str, Any] = {
            name: {"name": name, **text, "description": description, "x-field": name}
            for name, description in self.columns.items()
        }
        for field, name in SYSTEM_FIELDS.items():
            kind = text if name == "portal_id" else {"data_type": "timestamp", "timezone": True}
            hints[name] = {"name": name, **kind, "description": f"The portal's {field}.", "x-field": field}
        hints["_dlt_load_id"] = {"name": "_dlt_load_id", **text, "description": "The load that brought this row."}
        hints["_dlt_id"] = {"name": "_dlt_id", **text, "description": "This version of the row has it alone."}
        hints["portal_updated_at"]["dedup_sort"] = "desc"  # of a row that one load meets twice, the newest stays
        for name, column in hints.items():
            column["nullable"] = name != self.key
        return hints

    def as_arrow(self, rows: list[dict[str, Any]], load_id: str, schema: dlt.Schema) -> pa.Table:
        """A page as an Arrow table, which dlt takes as it is; dicts it would walk one by one.

        Fields new to the portal come along. Portals leave out what is null.
        """
        if nameless := [row.get(":id") for row in rows if not row.get(self.key)]:
            raise RequestRefused(f"the portal's rows {nameless[:3]} have no {self.key}; nothing was loaded")
        new = {name for row in rows for name in row if not name.startswith(":")} - self.columns.keys()
        arrays = {name: _texts(rows, name) for name in self.columns}
        for field, name in SYSTEM_FIELDS.items():
            texts = _texts(rows, field)
            arrays[name] = texts if name == "portal_id" else pc.cast(texts, TIME)
        arrays["_dlt_load_id"] = pa.array([load_id] * len(rows), pa.string())
        arrays["_dlt_id"] = pa.array(generate_dlt_ids(len(rows)), pa.string())
        arrays |= {schema.naming.normalize_identifier(name): _texts(rows, name) for name in sorted(new)}
        fields = [pa.field(name, array.type, nullable=name != self.key) for name, array in arrays.items()]
        return pa.table(list(arrays.values()), pa.schema(fields))


def _texts(rows: list[dict[str, Any]], field: str) -> pa.Array:
    values = [row.get(field) for row in rows]
    try:
        return pa.array(values, pa.string())
    except (pa.ArrowTypeError, pa.ArrowInvalid):  # an object (location), or a boolean
        texts = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
        return pa.array(texts, pa.string())
