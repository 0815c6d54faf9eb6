"""JSON, workbooks, ORC, Avro, and compressed files: read exactly or refused by name, as CSV and Parquet are."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from pyarrow import orc

from dlt_sources.landing import json_rows, text_table
from dlt_sources.landing.file_reader import FileReader
from dlt_sources.landing.landed import local_name
from dlt_sources.landing.typed_parquet import UnusableFile, connect
from tests.dlt_sources.test_dialects import GERMAN, Sales, declare
from tests.dlt_sources.workbook import DATE, MOMENT, TIME, workbook

CSV = "id,name,fee\n1,a,0.5\n2,b,7\n"


@pytest.fixture(scope="module")
def sales(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sales]:
    folder = tmp_path_factory.mktemp("scratch")
    with connect(folder) as connection:
        yield Sales(folder, connection)


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as packed:
        packed.write(content)
    return bytes(sink.getvalue())


def archive(**members: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(name.replace("__", "."), content)
    return buffer.getvalue()


PACKED = {
    "csv.gz": gzip.compress(CSV.encode()),
    "csv.zst": zstd(CSV.encode()),
    "csv.zip": archive(a__csv=CSV),
    "zip": archive(a__csv=CSV),
    "two members.csv.gz": gzip.compress(CSV[:15].encode()) + gzip.compress(CSV[15:].encode()),
    "two frames.csv.zst": zstd(CSV[:15].encode()) + zstd(CSV[15:].encode()),
    "jsonl.gz": gzip.compress(b'{"id": 1, "name": "a", "fee": 0.5}\n{"id": 2, "name": "b", "fee": 7}\n'),
}


@pytest.mark.parametrize("name", PACKED)
def test_a_compressed_file_is_the_file(sales: Sales, name: str) -> None:
    found = sales.rows(
        "",
        PACKED[name],
        "id, name, fee, source_row",
        name.rpartition(" ")[2].partition(".")[2] if " " in name else name,
    )
    assert found == [(1, "a", 0.5, 1), (2, "b", 7.0, 2)]


@pytest.mark.parametrize("name", ["csv.gz", "csv.zst", "csv.zip"])
def test_a_broken_compressed_file_is_refused(sales: Sales, name: str) -> None:
    content = PACKED[name]
    for broken in (content[:-9], CSV.encode(), content[: len(content) // 2]):
        assert "it can't be unpacked: " in sales.refusal("", broken, name)
    assert sales.refusal("", b"", "csv.zst") == "the file is empty"


def test_a_misfit_in_a_compressed_file_is_named_with_its_line(sales: Sales) -> None:
    told = sales.refusal("", gzip.compress(b"id\n1\n\nx\n"), "csv.gz")
    assert told.startswith("row ") and "column id: 'x' is no BIGINT (line 4)" in told


def test_an_archive_of_several_files_is_one_file_whose_rows_count_on(sales: Sales) -> None:
    content = archive(a__csv=CSV, __MACOSX="x", **{"in/b__csv": "name,id,tip\nc,3,9\n", "c__jsonl": '{"id": 4}'})
    assert sales.rows("", content, "id, name, fee, tip, source_row", "zip") == [
        (1, "a", 0.5, None, 1),
        (2, "b", 7.0, None, 2),
        (3, "c", None, 9.0, 3),
        (4, None, None, None, 4),
    ]
    bad = archive(a__csv=CSV, **{"in/b__csv": "id\nx\n"})
    assert sales.refusal("", bad, "zip") == "in/b.csv: row 1, column id: 'x' is no BIGINT (line 2)"
    drifting = archive(a__csv=CSV, b__csv="id,fee\n3,free\n")
    assert sales.refusal("", drifting, "zip") == "b.csv: row 1, column fee: 'free' is no DOUBLE (line 2)"
    keyed = sales.refusal('key = ["id"]', archive(a__csv=CSV, b__csv="id\n2\n"), "zip")
    assert keyed == "row 3, column id: id 2 is in row 2 too"
    assert "a.pdf is none of csv, " in sales.refusal("", archive(a__pdf="x", b__csv=CSV), "zip")
    assert "holds no file" in sales.refusal("", archive(), "zip")


@pytest.mark.slow
def test_what_a_compressed_file_may_become_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = declare("")
    row = b"1," + b"a" * 1000 + b"\n"
    files = {
        "bomb.csv.gz": gzip.compress(b"id,name\n" + row * 1_100_000, 1),
        "bombs.zip": archive(**{f"{n}__csv": (b"id,name\n" + row * 400_000).decode() for n in range(3)}),
    }
    with FileReader() as reader:
        for name, content in files.items():
            folder = tmp_path / name
            folder.mkdir()
            (folder / local_name(name)).write_bytes(content)
            with pytest.raises(UnusableFile, match="unfolds to more than a file of its size may take"):
                reader.write(
                    dataset,
                    folder / local_name(name),
                    folder / "out",
                    name,
                    known_columns=dataset.table.column_types,
                    headers={},
                    load_id="load",
                )


def test_which_names_are_the_datasets() -> None:
    orders = declare("").__class__(**{**declare("").__dict__, "pattern": "orders_*.csv"})
    assert orders.refusal("orders_1.csv") is None
    assert orders.refusal("orders_1.csv.gz") is None
    assert orders.refusal("2024/orders_1.csv.ZST") is None
    assert "does not match" in str(orders.refusal("orders_1.json"))
    assert "ends in none of .csv, .json" in str(orders.refusal("orders_1.pdf.gz"))
    assert "ends in none of" in str(orders.refusal("orders_1.gz"))


JSON = [
    ("jsonl", '{"id": 1, "name": "a"}\n\n{"name": null, "id": 2}\r\n'),
    ("ndjson", '\ufeff{"id": 1, "name": "a"}\n{"id": 2}'),
    ("json", '[{"id": 1,\n "name": "a"},\n{"id": 2}]\n'),
    ("json", '{"id": 1, "name": "a"}\n{"id": 2}'),
    ("json", '\n [\n{"id":1,"name":"a"}\n,{"id":2}\n]'),
]


@pytest.mark.parametrize(("ending", "content"), JSON)
@pytest.mark.parametrize("chunk", [3, 1 << 20])
def test_json_lines_and_arrays_are_rows(
    sales: Sales, ending: str, content: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_rows, "CHUNK", chunk)
    assert sales.rows("", content, "id, name, source_row", ending) == [(1, "a", 1), (2, None, 2)]


def test_json_numbers_are_exact_and_nested_values_are_their_text(sales: Sales) -> None:
    content = (
        '{"id": 9223372036854775807, "amount": 1234567890.10, "ratio": 1E5, "deep": {"ä": [0.1234567890123456789, null,'
        ' true, "x\\"y", {}]}, "fee": 0.10, "flag": true, "zip": "00501", "number": "7", "mixed": 1}\n'
        '{"id": 12e2, "amount": 15e-1, "deep": [], "mixed": "x", "flag": null, "late": 12345678901234567}\n'
    )
    selected = "id, amount, ratio, deep, fee, flag, typeof(flag), zip, number, mixed, late, typeof(late)"
    first, second = sales.rows("", content, selected, "jsonl")
    deep = '{"ä":[0.1234567890123456789,null,true,"x\\"y",{}]}'
    amount = Decimal("1234567890.10")
    assert first == (2**63 - 1, amount, 1e5, deep, 0.1, True, "BOOLEAN", "00501", "7", "1", None, "BIGINT")
    assert second == (
        1200,
        Decimal("1.50"),
        None,
        "[]",
        None,
        None,
        "BOOLEAN",
        None,
        None,
        "x",
        12345678901234567,
        "BIGINT",
    )
    for text in ("0.1234567890123456789", "1e999", "9007199254740993"):
        assert f"row 1, column ratio: '{text}' is no DOUBLE" in sales.refusal(
            "", f'{{"id": 1, "ratio": {text}}}', "json"
        )


def test_json_texts_are_written_in_the_dialect_and_json_numbers_are_not(sales: Sales) -> None:
    content = '[{"id": 1, "day": "31.12.2024", "amount": "1.234,5", "ratio": 0.5}]'
    assert sales.rows(GERMAN, content, "day::VARCHAR, amount, ratio", "json") == [
        ("2024-12-31", Decimal("1234.50"), 0.5)
    ]
    nulls = sales.rows('null_texts = ["NA"]', '{"id": 1, "ratio": "NA", "name": "NA"}', "ratio, name", "json")
    assert nulls == [(None, None)]
    assert sales.rows('encoding = "utf-16"', '{"id": 1, "name": "Łódź"}'.encode("utf-16"), "name", "json") == [
        ("Łódź",)
    ]


BAD_JSON = [
    ("", "the file is empty"),
    ("[1, 2]", "line 1: wanted is an object for each row, not '1, 2]'"),
    ('{"id": 1}\n"x"', "line 2: wanted is an object for each row"),
    ('[{"id": 1}\n,{"id": 2}', "line 2: the array has no end: the file is cut short"),
    ('{"id": 1}\n{"id": 2, "na', "line 2: no readable JSON: Unterminated string"),
    ('[{"id": 1}\n{"id": 2}]', "line 2: no comma between two objects"),
    ('[{"id": 1},]', "line 1: wanted is an object for each row, not ']'"),
    ('[{"id": 1}]\n{"id": 2}', "line 2: there is text behind the end of the array"),
    ('{"id": 1}\n{"id": 2,\n"id": 3}', "line 2: 'id' is there twice"),
    ('{"id": 1, "ratio": NaN}', "line 1: NaN is no JSON"),
    ('{"id": 1}\n{"id": 2, "name": "\\ud800"}', "line 2: a text is no Unicode"),
    ('{"id": 1}\n\n{"id": "x"}', "row 2, column id: 'x' is no BIGINT (line 3)"),
    ('{"id": 1}\n{"id": true}', "row 2, column id: 'true' is no BIGINT (line 2)"),
    ('{"id": 1, "": 2}', "column 2 has no name"),
    ('{"id": 1, "name": 1, "NAME": 2}', "column 3, 'NAME', is there twice: both are name"),
    ('{"name": "a"}', "no column id; the file's columns are: name"),
    ('{"id": 1, "x": ' + "[" * 100_000, "nested too deep"),
    (json.dumps({f"c{n}": n for n in range(200)}), "line 1: more than the"),
    (b'{"id": 1}\n{"name": "caf\xe9"}', "bytes that are no text in utf-8"),
]


@pytest.mark.parametrize(("content", "reason"), BAD_JSON)
def test_json_that_is_none_is_refused(sales: Sales, content: str | bytes, reason: str) -> None:
    assert reason in sales.refusal("", content, "json")


def test_an_empty_array_has_no_rows(sales: Sales) -> None:
    assert sales.rows("", "[]", "id", "json") == []


def test_many_json_rows_with_columns_that_come_later(sales: Sales, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_table, "BATCH_ROWS", 100)
    rows = [{"id": number, **({"late": number / 4} if number > 950 else {})} for number in range(1000)]
    content = "\n".join(map(json.dumps, rows))
    found = sales.rows("", content, "count(*), sum(id), sum(source_row), count(late), sum(late)", "jsonl")
    assert found == [(1000, 499_500, 500_500, 49, sum(range(951, 1000)) / 4)]


SHEET = [
    ["Sales of May"],
    [],
    ["id", "day", "moment", "amount", "name", "code", "flag", "share", "at", None],
    [1, (45657, DATE), (45657.75, MOMENT), 1234.5, "a", "00501", True, 0.1, (0.5, TIME)],
    [],
    [2, (45658, DATE), None, 12.65, "b", "7", False, 7, None],
]


def test_a_sheet_of_a_workbook_is_rows(sales: Sales) -> None:
    content = workbook({"Notes": [["x"]], "Sales": SHEET})
    dialect = 'sheet = "Sales"\nskip_rows = 2\ndate_format = "%d/%m/%Y"\ndecimal = ","'
    selected = 'id, day::VARCHAR, moment::VARCHAR, amount::VARCHAR, name, code, flag, share, "at"::VARCHAR, source_row'
    assert sales.rows(dialect, content, selected, "xlsx") == [
        (1, "2024-12-31", "2024-12-31 18:00:00", "1234.50", "a", "00501", True, 0.1, "12:00:00", 1),
        (2, "2025-01-01", None, "12.65", "b", "7", False, 7.0, None, 2),
    ]


def test_dates_as_text_in_a_sheet_are_read_as_declared_and_never_guessed(sales: Sales) -> None:
    dialect = 'date_format = "%d/%m/%Y"'
    texts = workbook({"S": [["id", "day"], [1, "13/12/2024"], [2, "01/02/2024"]]})
    assert sales.rows(dialect, texts, "day::VARCHAR", "xlsx") == [("2024-12-13",), ("2024-02-01",)]
    mixed = workbook({"S": [["id", "day"], [1, "13/12/2024"], [2, (45657, DATE)]]})
    told = sales.refusal(dialect, mixed, "xlsx")
    assert told == "row 2, column day: '2024-12-31' is no DATE as %d/%m/%Y (row of the sheet 3)"


BAD_SHEETS = [
    ([["id"], [1], [], ["x"]], "", "row 2, column id: 'x' is no BIGINT (row of the sheet 4)"),
    ([["id", "amount"], [1, 0.1 + 0.2]], "", "row 1, column amount: '0.30000000000000004' is no DECIMAL(12,2)"),
    ([["id"], [9007199254740994]], "", "is no BIGINT"),
    ([["id"], [1, 2]], "", "column 2 has no name"),
    ([["id"]], 'sheet = "Sales"', "no sheet Sales; the workbook's sheets are: S"),
    ([], "", "the sheet is empty"),
    ([["id"], [1]], "header_rows = 3", "it has no 3 lines of a header"),
]


@pytest.mark.parametrize(("rows", "dialect", "reason"), BAD_SHEETS)
def test_what_is_wrong_in_a_sheet_is_named(sales: Sales, rows: list[list[object]], dialect: str, reason: str) -> None:
    assert reason in sales.refusal(dialect, workbook({"S": rows}), "xlsx")  # type: ignore[dict-item]


def test_a_broken_workbook_is_refused(sales: Sales) -> None:
    content = workbook({"S": SHEET})
    for broken in (b"", b"id,name\n1,a\n", content[:-50], content[: len(content) // 2]):
        assert sales.refusal("", broken, "xlsx").startswith("no readable workbook: ")


def test_orc_is_read_as_parquet_is(sales: Sales, tmp_path: Path) -> None:
    path = tmp_path / "a.orc"
    day = datetime(2024, 1, 1, 10)
    columns = {"id": [1, 2], "moment": [day, None], "amount": [Decimal("1.50"), None], "nested": [{"a": [1]}, None]}
    orc.write_table(pa.table(columns), path)
    found = sales.rows("", path.read_bytes(), "id, moment, amount, nested", "orc")
    assert found == [(1, day, Decimal("1.50"), '{"a":[1]}'), (2, None, None, None)]
    assert "no readable ORC file" in sales.refusal("", path.read_bytes()[:-30], "orc")
    assert "no readable ORC file" in sales.refusal("", b"", "orc")
    orc.write_table(pa.table({"id": ["1", "x"]}), path)
    assert sales.refusal("", path.read_bytes(), "orc") == "row 2, column id: 'x' is no BIGINT"


def test_avro_is_read_as_parquet_is(sales: Sales, tmp_path: Path) -> None:
    path = tmp_path / "a.avro"
    day = datetime(2024, 1, 1, 10, 0, 0, 123456)
    columns = {"id": [1, 2**62], "moment": [day, None], "name": ["größe", None], "nested": [{"a": [1]}, None]}
    pl.DataFrame(columns).write_avro(path, compression="snappy")
    found = sales.rows("", path.read_bytes(), "id, moment, name, nested", "avro")
    assert found == [(1, day, "größe", '{"a":[1]}'), (2**62, None, None, None)]
    for broken in (b"", b"id,name\n1,a\n", path.read_bytes()[:-30], path.read_bytes()[:40]):
        assert sales.refusal("", broken, "avro").startswith("no readable Avro file: "), broken
    pl.DataFrame({"id": ["1", "x"]}).write_avro(path)
    assert sales.refusal("", path.read_bytes(), "avro") == "row 2, column id: 'x' is no BIGINT"
