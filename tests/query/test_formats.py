"""What a limit of megabytes means: no answer is larger, in any format, however large a single row is."""

from __future__ import annotations

import io
import json
from contextlib import closing

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.query.engine.formats import ARROW, CSV, FORMATS, JSON, PARQUET, Answer


def written(sql: str, media_type: str, max_bytes: int, max_rows: int = 1 << 40) -> tuple[bytes, int, str]:
    """The answer, its rows and what cut it."""
    pieces: list[bytes] = []
    with closing(duckdb.connect()) as connection:
        columns = [(name, str(kind)) for name, kind, *_ in connection.execute(sql).description or ()]
        answer = Answer(connection, columns, max_rows, max_bytes, {"environment": "prod", "release": 1})
        found = FORMATS[media_type].write(answer, lambda parts: pieces.extend(map(bytes, parts)), lambda: 0.0)
    return b"".join(pieces), found.rows, found.cut


def rows_of(content: bytes, media_type: str) -> int:
    """As many as a reader finds."""
    if media_type == JSON:
        return len(json.loads(content)["rows"])
    if media_type == CSV:
        return content.count(b"\r\n") - 1
    if media_type == ARROW:
        return int(pa.ipc.open_stream(content).read_all().num_rows)
    return int(pq.read_table(io.BytesIO(content)).num_rows)


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from([JSON, CSV, ARROW, PARQUET]),
    st.lists(st.sampled_from([0, 10, 1_000, 30_000, 400_000, 2_000_000]), min_size=1, max_size=8),
    st.sampled_from([100_000, 500_000, 1_500_000]),
    st.sampled_from(["md5(i::VARCHAR)", "'é"]),
)
def test_no_answer_is_larger_than_its_limit(media_type: str, sizes: list[int], most: int, text: str) -> None:
    value = "repeat('é', size)" if text == "'é" else "repeat(md5(i::VARCHAR), size // 32)"
    rows = " UNION ALL ".join(f"SELECT {number} AS i, {size} AS size" for number, size in enumerate(sizes))
    sql = f"SELECT i, {value} AS text FROM ({rows}) ORDER BY i"
    content, count, cut = written(sql, media_type, most)
    assert len(content) <= most
    assert rows_of(content, media_type) == count
    assert cut == ("" if count == len(sizes) else "bytes")
    if sum(sizes) * 2 < most / 2:
        assert cut == ""


@pytest.mark.parametrize("media_type", [JSON, CSV, ARROW, PARQUET])
def test_many_values_in_one_row_are_one_row_within_the_megabytes(media_type: str) -> None:
    sql = "SELECT list(i) AS all_of_them FROM range(200000) t(i)"
    assert written(sql, media_type, 50_000, max_rows=1)[1:] == (0, "bytes")
    content, rows, cut = written(sql, media_type, 1 << 22, max_rows=1)
    assert (rows, cut, rows_of(content, media_type)) == (1, "", 1)


@pytest.mark.parametrize("media_type", [JSON, CSV, ARROW, PARQUET])
def test_a_long_answer_uses_what_it_may(media_type: str) -> None:
    content, rows, cut = written("SELECT i, md5(i::VARCHAR) AS x FROM range(300000) t(i)", media_type, 2_000_000)
    assert cut == "bytes"
    assert rows_of(content, media_type) == rows
    assert 1_000_000 < len(content) <= 2_000_000
