"""Looks for planted words in everything that a lakehouse leaves behind, as a thief would: packed things unpacked."""

from __future__ import annotations

import base64
import binascii
import gzip
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
from psycopg import sql

PACKED = re.compile(rb"[A-Za-z0-9+/]{40,}={0,2}")


def found_in(where: str, content: bytes, words: Iterable[str]) -> list[str]:
    """`word in where`, for each word that stands there, in clear, in base64, or compressed."""
    content = b"\n".join(_unpacked(where, content))
    return [f"{word} in {where}" for word in words if word.lower().encode() in content.lower()]


def _unpacked(where: str, content: bytes) -> Iterator[bytes]:
    yield content
    if where.endswith(".parquet"):
        with suppress(Exception):
            yield str(pq.read_table(BytesIO(content)).to_pylist()).encode()
    if content[:2] == b"\x1f\x8b":
        with suppress(OSError, EOFError):
            yield gzip.decompress(content)
    for packed in set(PACKED.findall(content)) if len(content) < 1_000_000 else ():
        with suppress(binascii.Error):
            plain = base64.b64decode(packed + b"=" * (-len(packed) % 4))
            yield plain
            with suppress(zlib.error):
                yield zlib.decompress(plain)


def in_folder(folder: Path, words: Iterable[str]) -> list[str]:
    """Every file below a folder, PostgreSQL's own aside."""
    found = []
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink() and "postgres" not in file.relative_to(folder).parts:
            found += found_in(str(file), file.read_bytes(), words)
    return found


def in_database(url: str, words: Iterable[str]) -> list[str]:
    """Every column of every table that is not PostgreSQL's own, and what its clients say of themselves."""
    found = []
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        tables = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        assert len({schema for schema, _ in tables}) >= 4, "schemas are missing: it proves nothing"
        statements = [
            (".".join(table), sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(*table))) for table in tables
        ]
        statements.append(("pg_stat_activity", sql.SQL("SELECT t::text FROM pg_stat_activity t")))
        for name, statement in statements:
            rows = connection.execute(statement).fetchall()
            found += found_in(name, "\n".join(str(row[0]) for row in rows).encode(), words)
    return found


def in_bucket(client: Any, bucket: str, words: Iterable[str]) -> list[str]:
    """Every object of a bucket."""
    found = []
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page.get("Contents", ()):
            body = client.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
            found += found_in(f"s3://{bucket}/{entry['Key']}", body, words)
    return found
