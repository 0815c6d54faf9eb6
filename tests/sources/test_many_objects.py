"""A bucket of files, by the ordinary source that `lakehouse source add` writes: dlt's `filesystem("s3://…")`."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from tests.object_store import ACCESS_KEY, SECRET_KEY, ObjectStore
from tests.sources.conftest import Sources, command

ROWS = 20
WRITERS = {"parquet": pyarrow.parquet.write_table, "csv": pyarrow.csv.write_csv}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "files"), [("parquet", 3), *(pytest.param(kind, 1_500, marks=pytest.mark.proof) for kind in WRITERS)]
)
def test_objects_of_a_bucket_are_each_read_once(
    team: Sources, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch, kind: str, files: int
) -> None:
    bucket, client = object_store.new_bucket(), object_store.client()

    def put(number: int) -> None:
        body = io.BytesIO()
        ids = list(range(number * ROWS, number * ROWS + ROWS))
        WRITERS[kind](pa.table({"id": ids, "amount": [one / 4 for one in ids]}), body)
        client.put_object(Bucket=bucket, Key=f"clicks/{number % 10}/{number:05}.{kind}", Body=body.getvalue())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(files)))
    for name, value in (
        ("aws_access_key_id", ACCESS_KEY),
        ("aws_secret_access_key", SECRET_KEY),
        ("endpoint_url", object_store.endpoint),
    ):
        monkeypatch.setenv(f"SOURCES__CLICKS__CREDENTIALS__{name.upper()}", value)
    added = command("add", "clicks", f"s3://{bucket}/clicks/*/*.{kind}", "--key", "clicks=id", "--yes")
    assert added.exit_code == 0 and f"{files:,} files now" in added.output, added.output
    team.load("clicks")
    total = files * ROWS
    assert team.rows("SELECT count(*), count(DISTINCT id), sum(amount) FROM raw.clicks__clicks") == [
        (total, total, total * (total - 1) / 8)
    ]
    put(files)
    done = team.load("clicks")
    (told,) = done.asset_materializations_for_node("clicks")
    assert told.metadata["rows_inserted"].value == ROWS, "the others are not read again"
