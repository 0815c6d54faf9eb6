"""dlt pipelines on the lake: one per source, all into the zone `raw`, with their working files in the data folder."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from lakehouse.lake.ducklake import ALIAS, METADATA_SCHEMA, Lake
from lakehouse.settings import PROJECT_ROOT

if TYPE_CHECKING:
    from dlt import Pipeline
    from dlt.common.storages.configuration import FilesystemConfiguration

RAW_ZONE = "raw"
# Before dlt is imported: its .dlt folder is the project's, wherever a process was started, and it tells nobody.
os.environ.setdefault("DLT_PROJECT_DIR", str(PROJECT_ROOT))
os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
# dlt (1.31) does a job again whose connection died. It may have been committed: its rows would be there twice. So the
# load fails instead, is undone, and begins anew.
os.environ["LOAD__RAISE_ON_MAX_RETRIES"] = "1"


def _storage(lake: Lake) -> str | FilesystemConfiguration:
    if not lake.settings.stores_on_s3:
        return f"file://{lake.data_path}"
    from dlt.common.configuration.specs import AwsCredentials
    from dlt.common.storages.configuration import FilesystemConfiguration

    from lakehouse.storage.s3 import s3_credentials

    found = s3_credentials(lake.settings)
    return FilesystemConfiguration(
        bucket_url=lake.data_path,
        credentials=AwsCredentials(
            aws_access_key_id=found["key_id"],
            aws_secret_access_key=found["secret"],
            aws_session_token=found.get("session_token"),
            region_name=lake.settings.s3_region,
            endpoint_url=lake.settings.s3_endpoint or None,
        ),
    )


def lake_pipeline(lake: Lake, source: str, log: logging.Logger | None = None) -> Pipeline:
    """The dlt pipeline of a source. It is named as the source, and so are its lock, its mark and its working folder.

    `log` gets its progress.
    """
    import dlt
    from dlt.common.runtime.collector import LogCollector
    from dlt.destinations.impl.ducklake.configuration import DuckLakeCredentials

    from lakehouse.writing import dlt_connections

    dlt_connections.install()
    credentials = DuckLakeCredentials(
        ducklake_name=ALIAS,
        metadata_schema=METADATA_SCHEMA,
        catalog=lake.postgres_url,
        storage=_storage(lake),
    )
    # An attribute, not an argument (dlt 1.31): the DuckDB configuration of every connection that dlt opens.
    credentials.global_config = {**lake.duckdb_config(), "TimeZone": "UTC"}
    # Else a merge is two snapshots of the lake, and a reader between them misses rows (dlt 1.31).
    destination = dlt.destinations.ducklake(credentials=credentials, supports_transactions=True)
    dlt_connections.remember_capabilities(destination)
    return dlt.pipeline(
        pipeline_name=source,
        destination=destination,
        dataset_name=RAW_ZONE,
        pipelines_dir=str(lake.settings.pipelines_dir),
        progress=LogCollector(log_period=2, logger=log, dump_system_stats=False) if log else None,  # type: ignore[arg-type]
    )
