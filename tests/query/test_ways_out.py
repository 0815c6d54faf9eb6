"""Types, alone and inside of one another, on every way out: no digit is lost and every document can be read."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakehouse.cli.answers import Format, head_answer
from lakehouse.query.engine.formats import ARROW, CSV, FORMATS, JSON, PARQUET, Answer
from lakehouse.query.engine.values import columns_of, selecting

VALUES = [
    "12345678901234567.89::DECIMAL(38,2)",
    "99999999999999999999999999999999999999::DECIMAL(38,0)", "0.000::DECIMAL(4,3)",
    "9223372036854775807::BIGINT", "18446744073709551615::UBIGINT", "12345678901234567890123::HUGEINT",
    "'nan'::DOUBLE", "'-inf'::DOUBLE", "'inf'::FLOAT", "0.1::FLOAT", "1e-300::DOUBLE", "0.1::DOUBLE",
    "TIMESTAMP_NS '2024-02-29 12:34:56.789012345'", "'12:34:56.123456789'::TIME_NS", "TIME '12:34:56.789'",
    "TIMETZ '12:34:56+02'", "TIMESTAMPTZ '2024-02-29 12:34:56+02'", "DATE '2024-02-29'", "INTERVAL '1 month 2 days'",
    "'\\x00\\xFF'::BLOB", "UUID '4ac7a9e9-607c-4c8a-84f3-843f0191e3fd'", "'10101'::BIT", "'b'::ENUM('a', 'b')",
    "union_value(num := 2)", "true", "'say \"x\",\n'", "row(1, DATE '2024-02-29')", "'1234567890123456789012'::BIGNUM",
]  # fmt: skip
WRAPPED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "alone": ("{}", lambda found: found),
    "list": ("[{}, NULL]", lambda found: found[0]),
    "array": ("array_value({})", lambda found: found[0]),
    "struct": ("{{'a b': {}, 'c': DATE '2024-01-01'}}", lambda found: found["a b"]),
    "row": ("row(1, {})", lambda found: found[1]),
    "map": ("MAP {{1.5: {}}}", lambda found: found["1.5"]),
    "deep": ("[MAP {{'x': row({})}}]", lambda found: found[0]["x"][0]),
}


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        opened.execute("SET TimeZone = 'UTC'")
        yield opened


def written(connection: duckdb.DuckDBPyConnection, sql: str, media_type: str) -> bytes:
    found = columns_of(connection.sql(sql))
    connection.execute(selecting(sql, found, FORMATS[media_type].casts))
    pieces: list[bytes] = []
    answer = Answer(connection, [(name, str(kind)) for name, kind in found], 100, 1 << 30)
    FORMATS[media_type].write(answer, lambda parts: pieces.extend(bytes(part) for part in parts), lambda: 0.0)
    return b"".join(pieces)


def no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def strict(content: bytes | str) -> Any:
    return json.loads(content, parse_constant=no_constant, parse_float=Decimal)


@pytest.mark.parametrize("around", WRAPPED)
@pytest.mark.parametrize("value", VALUES)
def test_the_same_value_comes_out_of_every_way(connection: duckdb.DuckDBPyConnection, value: str, around: str) -> None:
    wrap, inner = WRAPPED[around]
    sql = f"SELECT {wrap.format(value)} AS v"
    row = connection.execute(f"SELECT ({value})::VARCHAR, typeof({value})").fetchone()
    assert row
    text, kind = row
    found = inner(strict(written(connection, sql, JSON))["rows"][0][0])
    if kind == "BLOB":
        assert found == "AP8="
    elif kind in ("BOOLEAN", "STRUCT(INTEGER, DATE)"):
        assert found in (True, [1, "2024-02-29"])
    elif kind in ("DOUBLE", "FLOAT") and isinstance(found, str):
        assert found.lower()[:4] == {"nan": "nan", "inf": "infi", "-inf": "-inf"}[text]
    elif isinstance(found, (int, Decimal)):
        assert Decimal(found) == Decimal(text)
    else:
        assert found == text
    assert written(connection, sql, CSV).startswith(b"v\r\n")
    back = io.BytesIO()
    head_answer(connection, sql, Format.json, 100, back)
    record = inner(strict(back.getvalue())[0]["v"])
    assert record == found or Decimal(str(record)) == Decimal(str(found))
    arrow = pa.ipc.open_stream(written(connection, sql, ARROW)).read_all()
    parquet = pq.read_table(io.BytesIO(written(connection, sql, PARQUET)))
    # DuckDB reads both: its own text of what arrived is the text of what was sent, as far as they have the type.
    texts = {
        str(connection.execute("SELECT v::VARCHAR FROM arrived").fetchone())
        for arrived in (arrow, parquet)
        if connection.register("arrived", arrived)
    }
    assert len(texts) == 1


def test_a_decimal_column_is_a_number_with_all_its_digits(connection: duckdb.DuckDBPyConnection) -> None:
    to = io.BytesIO()
    head_answer(connection, "SELECT 12345678901234567.89::DECIMAL(38,2) AS d, 'NaN'::DOUBLE AS n", Format.json, 9, to)
    assert to.getvalue() == b'[\n{"d": 12345678901234567.89, "n": "NaN"}\n]\n'
