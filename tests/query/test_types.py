"""Every type that DuckDB has, in every format: the same value each way."""

from __future__ import annotations

import csv
import io
import math
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakehouse.query.engine.formats import ARROW, CSV, JSON, PARQUET
from tests.query.conftest import Service

MOMENT = datetime(2024, 2, 29, 12, 34, 56, 789012)
INF = math.inf

# Type, an expression of it, its value in JSON, in CSV, and in Arrow and Parquet.
CASES: list[tuple[str, str, Any, str, Any]] = [
    ("BOOLEAN", "true", True, "true", True),
    ("TINYINT", "(-128)::TINYINT", -128, "-128", -128),
    ("SMALLINT", "(-32768)::SMALLINT", -32768, "-32768", -32768),
    ("INTEGER", "(-2147483648)::INTEGER", -(2**31), "-2147483648", -(2**31)),
    ("BIGINT", "9007199254740992::BIGINT", 2**53, "9007199254740992", 2**53),
    ("BIGINT", "9223372036854775807::BIGINT", "9223372036854775807", "9223372036854775807", 2**63 - 1),
    ("HUGEINT", "12345678901234567890::HUGEINT", "12345678901234567890", "12345678901234567890",
     Decimal("12345678901234567890")),
    ("UTINYINT", "255::UTINYINT", 255, "255", 255),
    ("USMALLINT", "65535::USMALLINT", 65535, "65535", 65535),
    ("UINTEGER", "4294967295::UINTEGER", 2**32 - 1, "4294967295", 2**32 - 1),
    ("UBIGINT", "18446744073709551615::UBIGINT", str(2**64 - 1), str(2**64 - 1), 2**64 - 1),
    ("UHUGEINT", "7::UHUGEINT", 7, "7", Decimal(7)),
    ("BIGNUM", "'123456789012345678901234567890123456789012'::BIGNUM", "123456789012345678901234567890123456789012",
     "123456789012345678901234567890123456789012", "123456789012345678901234567890123456789012"),
    ("FLOAT", "0.5::FLOAT", 0.5, "0.5", 0.5),
    ("DOUBLE", "0.1::DOUBLE", 0.1, "0.1", 0.1),
    ("DOUBLE", "'nan'::DOUBLE", "NaN", "NaN", math.nan),
    ("DOUBLE", "'inf'::DOUBLE", "Infinity", "Infinity", INF),
    ("DOUBLE", "'-inf'::DOUBLE", "-Infinity", "-Infinity", -INF),
    ("DECIMAL(10,3)", "12.340::DECIMAL(10,3)", "12.340", "12.340", Decimal("12.340")),
    ("DECIMAL(38,2)", "999999999999999999999999999999999999.99::DECIMAL(38,2)",
     "999999999999999999999999999999999999.99", "999999999999999999999999999999999999.99",
     Decimal("999999999999999999999999999999999999.99")),
    ("VARCHAR", "'Zoë, \"said\"\n'", 'Zoë, "said"\n', 'Zoë, "said"\n', 'Zoë, "said"\n'),
    ("VARCHAR", "''", "", "", ""),
    ("BLOB", r"'\x00\xFF'::BLOB", "AP8=", "AP8=", b"\x00\xff"),
    ("BIT", "'10101'::BIT", "10101", "10101", "10101"),
    ("DATE", "DATE '2024-02-29'", "2024-02-29", "2024-02-29", date(2024, 2, 29)),
    ("TIME", "TIME '12:34:56.789012'", "12:34:56.789012", "12:34:56.789012", time(12, 34, 56, 789012)),
    ("TIME WITH TIME ZONE", "TIMETZ '12:34:56+02'", "12:34:56+02", "12:34:56+02", "12:34:56+02"),
    ("TIMESTAMP", f"TIMESTAMP '{MOMENT}'", str(MOMENT), str(MOMENT), MOMENT),
    ("TIMESTAMP_S", "TIMESTAMP_S '2024-02-29 12:34:56'", "2024-02-29 12:34:56", "2024-02-29 12:34:56",
     MOMENT.replace(microsecond=0)),
    ("TIMESTAMP_MS", "TIMESTAMP_MS '2024-02-29 12:34:56.789'", "2024-02-29 12:34:56.789", "2024-02-29 12:34:56.789",
     MOMENT.replace(microsecond=789000)),
    ("TIMESTAMP_NS", "TIMESTAMP_NS '2024-02-29 12:34:56.789012345'", "2024-02-29 12:34:56.789012345",
     "2024-02-29 12:34:56.789012345", 1709210096789012345),
    ("TIMESTAMP WITH TIME ZONE", f"TIMESTAMPTZ '{MOMENT}+02'", "2024-02-29 10:34:56.789012+00",
     "2024-02-29 10:34:56.789012+00", MOMENT.replace(hour=10, tzinfo=UTC)),
    ("DATE", "DATE 'infinity'", "infinity", "infinity", None),
    ("TIMESTAMP", "TIMESTAMP '-infinity'", "-infinity", "-infinity", None),
    ("INTERVAL", "INTERVAL '1 month 2 days 3 seconds'", "1 month 2 days 00:00:03", "1 month 2 days 00:00:03",
     "1 month 2 days 00:00:03"),
    ("UUID", "UUID '4ac7a9e9-607c-4c8a-84f3-843f0191e3fd'", *["4ac7a9e9-607c-4c8a-84f3-843f0191e3fd"] * 3),
    ("ENUM('a', 'b')", "'b'::ENUM('a', 'b')", "b", "b", "b"),
    ("JSON", """'{"a": [1, null]}'::JSON""", *['{"a": [1, null]}'] * 3),
    ("INTEGER[]", "[1, NULL, 3]", [1, None, 3], "[1,null,3]", [1, None, 3]),
    ("INTEGER[2]", "array_value(1, 2)", [1, 2], "[1,2]", [1, 2]),
    ("DATE[]", "[DATE '2024-02-29']", ["2024-02-29"], '["2024-02-29"]', [date(2024, 2, 29)]),
    ("STRUCT(a INTEGER, \"b c\" DECIMAL(3,1))", "{'a': 1, 'b c': 2.5::DECIMAL(3,1)}", {"a": 1, "b c": "2.5"},
     '{"a":1,"b c":"2.5"}', {"a": 1, "b c": Decimal("2.5")}),
    ("MAP(VARCHAR, INTEGER)", "MAP {'x': 1}", {"x": 1}, '{"x":1}', [("x", 1)]),
    ("UNION(num INTEGER, str VARCHAR)", "union_value(num := 2)::UNION(num INTEGER, str VARCHAR)", "2", "2", "2"),
    ("STRUCT(a INTERVAL)[]", "[{'a': INTERVAL '1 year'}]", [{"a": "1 year"}], '[{"a":"1 year"}]', [{"a": "1 year"}]),
    ("INTEGER", "NULL", None, "", None),
]  # fmt: skip
IDS = [f"{number}-{case[0]}" for number, case in enumerate(CASES)]


def same(found: Any, expected: Any) -> bool:
    if isinstance(expected, float) and math.isnan(expected):
        return math.isnan(found)
    return bool(found == expected and type(found) is type(expected))


def plain(column: pa.ChunkedArray) -> list[Any]:
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        return list(column.cast(pa.int64()).to_pylist())  # Python's datetime has no nanoseconds
    return list(column.to_pylist())


@pytest.mark.parametrize(("kind", "expression", "in_json", "in_csv", "in_arrow"), CASES, ids=IDS)
def test_a_type_travels_in_every_format(
    service: Service, kind: str, expression: str, in_json: Any, in_csv: str, in_arrow: Any
) -> None:
    sql = f"SELECT {expression} AS value, 'beside' AS text"
    reply = service.ask(sql)
    assert reply.status_code == 200, reply.text
    answer = reply.json()
    assert answer["columns"][0] == {"name": "value", "type": kind}
    assert same(answer["rows"][0][0], in_json), answer

    lines = list(csv.reader(io.StringIO(service.ask(sql, CSV).text, newline="")))
    assert lines == [["value", "text"], [in_csv, "beside"]]

    stream = service.ask(sql, ARROW).content
    arrow = pa.ipc.open_stream(stream).read_all()
    parquet = pq.read_table(io.BytesIO(service.ask(sql, PARQUET).content))
    assert arrow.schema.field("value").metadata[b"duckdb.type"] == kind.encode()
    if "infinity" not in expression:  # Python has no such date; the bits are DuckDB's own
        assert same(plain(arrow["value"])[0], in_arrow), arrow
        wanted = in_arrow
        if kind == "TIMESTAMP_S":  # Parquet has no seconds
            assert plain(parquet["value"])[0] == wanted
        else:
            assert same(plain(parquet["value"])[0], wanted), parquet


@pytest.mark.parametrize("accept", [JSON, CSV, ARROW, PARQUET])
def test_no_rows_still_have_columns(service: Service, accept: str) -> None:
    reply = service.ask("SELECT i, day FROM marts.days WHERE i < 0", accept)
    assert reply.headers["lakehouse-rows"] == "0"
    names = {
        JSON: lambda: [column["name"] for column in reply.json()["columns"]],
        CSV: lambda: reply.text.strip().split(","),
        ARROW: lambda: pa.ipc.open_stream(reply.content).read_all().schema.names,
        PARQUET: lambda: pq.read_table(io.BytesIO(reply.content)).schema.names,
    }[accept]()
    assert names == ["i", "day"]


def test_names_may_repeat(service: Service) -> None:
    sql = "SELECT 1 AS x, 2 AS x, 3 AS X"
    answer = service.ask(sql).json()
    assert ([column["name"] for column in answer["columns"]], answer["rows"]) == (["x", "x", "X"], [[1, 2, 3]])
    assert service.ask(sql, CSV).text == "x,x,X\r\n1,2,3\r\n"
    assert pa.ipc.open_stream(service.ask(sql, ARROW).content).read_all().schema.names == ["x", "x", "X"]
    # A Parquet file's columns have one name each.
    assert pq.read_table(io.BytesIO(service.ask(sql, PARQUET).content)).schema.names == ["x", "x_1", "X_2"]


def test_null_and_empty_text_differ_in_csv(service: Service) -> None:
    assert service.ask("SELECT NULL AS a, '' AS b, ' x' AS c", CSV).text == 'a,b,c\r\n,""," x"\r\n'


def test_what_is_wider_than_38_digits_is_said(service: Service) -> None:
    sql = "SELECT 170141183460469231731687303715884105727::HUGEINT AS value"
    assert service.ask(sql).json()["rows"] == [["170141183460469231731687303715884105727"]]
    reply = service.ask(sql, ARROW)
    assert reply.status_code == 400
    assert "DECIMAL(38,0)" in reply.json()["detail"]


def test_the_order_asked_for_is_the_order_given(service: Service) -> None:
    # DATE is cast on its way to JSON, around the whole statement.
    rows = service.rows("SELECT day, i FROM marts.days ORDER BY i DESC", limit=5_000)
    assert [row[1] for row in rows] == list(range(99_999, 94_999, -1))
