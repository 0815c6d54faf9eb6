"""The lake as a Dagster resource, built on dagster-duckdb's; its storage, on dagster-aws's; the models, with the
ledger's word on who owns a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import dagster as dg
import duckdb
from dagster_duckdb import DuckDBResource

from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.settings import load_settings
from lakehouse.storage import Storage, open_storage
from lakehouse.storage.s3 import S3Storage, s3_credentials
from lakehouse.writing import environments, lost
from lakehouse_assets.sqlmesh_integration import SqlmeshProject, SqlmeshResource

if TYPE_CHECKING:
    from dagster_aws.s3 import S3Resource


class LakeResource(DuckDBResource):
    """DuckDB with the lake attached as `lakehouse`. What it needs to know comes from the settings, not from here.

    Addresses and passwords are no fields of it: Dagster keeps the fields of a resource in clear.
    """

    if TYPE_CHECKING:
        database: str = ":memory:"
    else:  # no fields of it: the launchpad would show them as settings
        database: ClassVar[str] = ":memory:"
        connection_config: ClassVar[dict[str, Any]] = {}

    @property
    def lake(self) -> Lake:
        """The lake of this process's settings."""
        return Lake(load_settings())

    @contextmanager
    def get_connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection of its own, the lake attached and current."""
        lake = self.lake
        opened = DuckDBResource(database=self.database, connection_config=lake.duckdb_config())
        with opened.get_connection() as connection:
            lake.attach(connection)
            yield connection


class StorageResource(dg.ConfigurableResource):
    """The storage of this process's settings; on S3 through dagster-aws's own resource, which users' assets may take.

    Keys are no fields of it: Dagster keeps the fields of a resource in clear.
    """

    @property
    def lake(self) -> Lake:
        """The lake whose files lie there."""
        return Lake(load_settings())

    def s3(self) -> S3Resource:
        """dagster-aws's resource with the settings' endpoint, region and keys: `get_client()` is boto3's."""
        # Imported here: boto3 costs every process over a second that only looks at the graph.
        from dagster_aws.s3 import S3Resource

        settings = load_settings()
        found = s3_credentials(settings)
        return S3Resource(
            endpoint_url=settings.s3_endpoint or None,
            region_name=settings.s3_region,
            aws_access_key_id=found["key_id"],
            aws_secret_access_key=found["secret"],
            aws_session_token=found.get("session_token"),
            max_attempts=4,
        )

    def open(self) -> Storage:
        """The storage itself."""
        settings = load_settings()
        if not settings.stores_on_s3:
            return open_storage(settings)
        return S3Storage(settings.storage_uri, self.s3().get_client())


def writing_rows(table: str) -> AbstractContextManager[None]:
    """A model is computed when the store has what it wrote."""
    return lost.writing(Lake(load_settings()), table)


class ModelsResource(SqlmeshResource):
    """The models of one environment. A table that several use is computed by prod, else qa, else its first user."""

    @property
    def project(self) -> SqlmeshProject:
        return replace(super().project, writing=writing_rows)

    def first_users(self) -> Mapping[str, Sequence[str]]:
        """As the ledger has it."""
        with closing(connect(load_settings())) as connection:
            return environments.first_users(connection)
