"""Where the files lie: the storage, the folder that the catalog remembers, the files that it names."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from lakehouse.lake.catalog_paths import FILE_ADDRESS
from lakehouse.lake.ducklake import METADATA_SCHEMA
from lakehouse.storage.s3 import REASONS, S3Storage
from lakehouse.upkeep.doctor.examination import Examination, UnableError
from lakehouse.upkeep.doctor.findings import Finding, Seen, warning, wrong

SAMPLE, SHOWN = 40, 4


def storage(examination: Examination) -> Seen:
    """The storage is reached, may be written to, and keeps versions."""
    settings = examination.settings
    if not settings.stores_on_s3:
        return _folder(Path(settings.storage_uri))
    try:
        found = examination.storage
    except UnableError as error:
        return Seen(
            "",
            (
                wrong(
                    str(error),
                    where=f"{settings.storage_uri} at {settings.s3_endpoint or 'Amazon'}",
                    why="Nothing can be loaded, released or asked.",
                    do="Start the store; check LAKEHOUSE_STORAGE, LAKEHOUSE_S3_ENDPOINT and its keys; a bucket that is "
                    "missing: `lakehouse bootstrap --create-bucket`.",
                ),
            ),
        )
    assert isinstance(found, S3Storage)
    findings = [one for one in (_writable(found), _versioned(found)) if one]
    return Seen(f"{found.uri} answers, may be written to and keeps versions", tuple(findings))


def _folder(folder: Path) -> Seen:
    if not folder.exists():
        return Seen(f"{folder} is not there yet: the first load makes it")
    if folder.is_dir() and os.access(folder, os.R_OK | os.W_OK | os.X_OK) and not _read_only(folder):
        return Seen(f"{folder} may be read and written")
    return Seen(
        "",
        (
            wrong(
                "the storage can't be written to" if folder.is_dir() else "the storage is no folder",
                where=str(folder),
                why="No load and no release can be stored.",
                do=f"ls -ld {folder}; give it to the user who runs `make up` (chown), or correct LAKEHOUSE_STORAGE.",
            ),
        ),
    )


def _read_only(folder: Path) -> bool:
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def _writable(found: S3Storage) -> Finding | None:
    """An upload in parts that is begun and given up needs the right to write, and leaves nothing behind."""
    from botocore.exceptions import BotoCoreError, ClientError

    key = f"{found.prefix}/.doctor".lstrip("/")
    try:
        begun = found.client.create_multipart_upload(Bucket=found.bucket, Key=key)
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        return wrong(
            f"the storage can't be written to: {REASONS.get(code, code)}",
            where=found.uri,
            why="No load and no release can be stored.",
            do="Give LAKEHOUSE_S3_ACCESS_KEY_ID the right s3:PutObject on this bucket, or set another key.",
        )
    except BotoCoreError as error:
        raise UnableError(f"the storage stopped answering: {error}") from None
    with contextlib.suppress(ClientError, BotoCoreError):
        found.client.abort_multipart_upload(Bucket=found.bucket, Key=key, UploadId=begun["UploadId"])
    return None


def _versioned(found: S3Storage) -> Finding | None:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        if found.client.get_bucket_versioning(Bucket=found.bucket).get("Status") == "Enabled":
            return None
    except (ClientError, BotoCoreError):
        return None  # the right to look is not needed for anything else
    return warning(
        f"the bucket {found.bucket} keeps no versions",
        where=found.uri,
        why="What is overwritten or deleted in the landing zone is lost: `lakehouse files restore` has nothing.",
        do="`lakehouse bootstrap` switches it on.",
    )


def data_path(examination: Examination) -> Seen:
    """The catalog's files lie where the settings say."""
    wanted = examination.settings.lake_uri + "/"
    known = _data_path(examination)
    if known == wanted:
        return Seen(f"the catalog's files lie in {known}")
    return Seen(
        "",
        (
            wrong(
                "the folder was moved: the catalog remembers another one than the settings name",
                where=f"catalog: {known}; settings: {wanted}",
                why="DuckLake refuses another spelling, so that nothing can attach the lake; its files "
                "would not be found.",
                do=f"Move the files back, or set LAKEHOUSE_STORAGE={known.rstrip('/').removesuffix('/lake')}",
            ),
        ),
    )


def _data_path(examination: Examination) -> str:
    if not examination.has(f"{METADATA_SCHEMA}.ducklake_metadata"):
        raise UnableError("there is no lake yet")
    row = examination.postgres.execute(
        f"SELECT value FROM {METADATA_SCHEMA}.ducklake_metadata WHERE key = 'data_path' AND scope IS NULL"
    ).fetchone()
    if row is None:
        raise UnableError("the catalog remembers no folder")
    return str(row[0])


def sample(examination: Examination) -> Seen:
    """Files that the catalog names exist: the newest, the oldest, and some between."""
    root = _data_path(examination)
    rows = examination.postgres.execute(
        f"""
        WITH named AS (
            SELECT
                {FILE_ADDRESS} AS address,
                s.schema_name || '.' || t.table_name AS table_name,
                row_number() OVER (ORDER BY data_file_id) AS number, count(*) OVER () AS total
            FROM {METADATA_SCHEMA}.ducklake_data_file AS file
            JOIN {METADATA_SCHEMA}.ducklake_table AS t USING (table_id)
            JOIN {METADATA_SCHEMA}.ducklake_schema AS s USING (schema_id)
            WHERE file.end_snapshot IS NULL AND t.end_snapshot IS NULL AND s.end_snapshot IS NULL
        )
        SELECT DISTINCT address, table_name, total FROM named
        WHERE number <= 5 OR number > total - 5 OR number %% greatest(total / %(sample)s, 1) = 0
        LIMIT %(sample)s
        """,
        {"sample": SAMPLE},
    ).fetchall()
    missing = [(address, table) for address, table, _ in rows if not _exists(examination, address)]
    if not missing:
        total = rows[0][2] if rows else 0
        return Seen(f"{len(rows)} of the {total:,} files that the catalog names were looked for, and are there")
    if len(missing) == len(rows) and root != examination.settings.lake_uri + "/":
        raise UnableError("the folder was moved")
    tables = sorted({table for _, table in missing})
    shown = ", ".join(tables[:SHOWN]) + (f" and {len(tables) - SHOWN} more" if len(tables) > SHOWN else "")
    return Seen(
        "",
        (
            wrong(
                f"{len(missing)} of {len(rows)} files that the catalog names are missing",
                where=missing[0][0],
                why=f"Every query that needs them fails: {shown}.",
                do="Put them back from a backup, or from the bucket's versions. If the folder was moved "
                "or a disk is not "
                "mounted, do that first. Else: load the raw table again, or materialize the model again.",
            ),
        ),
    )


def _exists(examination: Examination, address: str) -> bool:
    if "://" not in address:
        return Path(address).exists()
    found = examination.storage
    key = address.removeprefix(f"{found.uri}/")
    if key == address:
        raise UnableError(f"the catalog's files lie in another storage, {address.rsplit('/', 1)[0]}")
    return found.find(key) is not None
