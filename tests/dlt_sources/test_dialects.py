"""Text files as teams have them: each dialect that a declaration may name, read exactly or refused by name."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dlt_sources.landing.declaration import DeclarationError, parse
from dlt_sources.landing.landed import Dataset
from dlt_sources.landing.typed_parquet import TypedParquet, UnusableFile, connect

DECLARED = """
entity = "sales"
description = "Sales. One row per sale."
pattern = "*"
{dialect}
[columns]
id = {{ type = "BIGINT", required = true, description = "Number." }}
day = {{ type = "DATE", description = "Day." }}
moment = {{ type = "TIMESTAMP", description = "Moment, UTC." }}
amount = {{ type = "DECIMAL(12,2)", description = "Amount." }}
ratio = {{ type = "DOUBLE", description = "Ratio." }}
name = {{ type = "VARCHAR", description = "Name." }}
"""
GERMAN = 'delimiter = ";"\ndecimal = ","\nthousands = "."\ndate_format = "%d.%m.%Y"\n'


def declare(dialect: str) -> Dataset:
    """The dataset with these lines in its declaration."""
    return parse("sales", tomllib.loads(DECLARED.format(dialect=dialect)))


class Sales:
    """Reads files of a dialect."""

    def __init__(self, folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
        self.folder, self.connection, self.number = folder, connection, 0

    def rows(self, dialect: str, content: str | bytes, columns: str, ending: str = "csv") -> list[tuple[Any, ...]]:
        self.number += 1
        folder = self.folder / str(self.number)
        folder.mkdir()
        path, target = folder / f"landed.{ending}", folder / "typed.out"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        dataset = declare(dialect)
        parquet = TypedParquet(self.connection, dataset, dataset.table.column_types, {}, "load")
        parquet.write(path, target, path.name)
        sql = f"SELECT {columns} FROM (FROM read_parquet('{target}') ORDER BY source_row)"
        return self.connection.execute(sql).fetchall()

    def refusal(self, dialect: str, content: str | bytes, ending: str = "csv") -> str:
        with pytest.raises(UnusableFile) as raised:
            self.rows(dialect, content, "*", ending)
        assert str(self.folder) not in str(raised.value), "our scratch folder is nobody's business"
        return str(raised.value)


@pytest.fixture(scope="module")
def sales(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sales]:
    folder = tmp_path_factory.mktemp("scratch")
    with connect(folder) as connection:
        yield Sales(folder, connection)


FRENCH = 'delimiter = ";"\ndecimal = ","\nthousands = " "\n'
NUMBERS = [
    (GERMAN, ["1.234.567,89", "-0,5", "12", "1234,5", ",5", "+1.000"], "1234567.89 -.5 12 1234.5 .5 1000"),
    ('thousands = ","\n', ['"1,234.50"', "7", "1E3"], "1234.50 7 1000"),
    (FRENCH, ["1 234,5", "1\u00a0234,5", "1\u202f234 567,5"], "1234.5 1234.5 1234567.5"),
    ('delimiter = ";"\nthousands = "\'"\n', ["1'234.5"], "1234.5"),
]


@pytest.mark.parametrize(("dialect", "texts", "wanted"), NUMBERS)
def test_numbers_with_other_marks_are_the_same_numbers(
    sales: Sales, dialect: str, texts: list[str], wanted: str
) -> None:
    delimiter = declare(dialect).dialect.delimiter
    content = "\n".join([f"id{delimiter}amount{delimiter}ratio", *(f"1{delimiter}{t}{delimiter}{t}" for t in texts)])
    found = sales.rows(dialect, content, "amount, ratio")
    assert found == [(Decimal(one).quantize(Decimal("0.01")), float(one)) for one in wanted.split()]


@pytest.mark.parametrize("text", ["1.5", "1.23,4", "1,234.5", "1.2345,0", "1..234", "0,123", "12.34.567,0"])
def test_a_number_that_is_written_otherwise_is_refused(sales: Sales, text: str) -> None:
    told = sales.refusal(GERMAN, f"id;amount\n1;2,50\n2;{text}\n")
    assert told.startswith(f"row 2, column amount: {text!r} is no DECIMAL(12,2) with the decimal mark , ")
    assert told.endswith("(line 3)")


def test_a_number_stays_exact_whatever_its_marks(sales: Sales) -> None:
    assert "is no DOUBLE" in sales.refusal(GERMAN, "id;ratio\n1;0,1234567890123456789\n")
    assert "is no BIGINT" in sales.refusal(GERMAN, "id;ratio\n9.223.372.036.854.775.808;1\n")
    assert sales.rows(GERMAN, "id;ratio\n9.223.372.036.854.775.807;0,1\n", "id, ratio") == [(2**63 - 1, 0.1)]


def test_a_column_that_nobody_declared_is_a_number_by_its_marks(sales: Sales) -> None:
    content = "id;fee;zip;text\n1;0,75;00501;1,5 kg\n2;1.000,5;10001;x\n"
    selected = "typeof(fee), fee, typeof(zip), typeof(text)"
    assert sales.rows(GERMAN, content, selected) == [
        ("DOUBLE", 0.75, "VARCHAR", "VARCHAR"),
        ("DOUBLE", 1000.5, "VARCHAR", "VARCHAR"),
    ]


DATES = [
    ("%d/%m/%Y", "31/12/2024", "2024-12-31"),
    ("%d/%m/%Y", "1/2/2024", "2024-02-01"),
    ("%m/%d/%y", "12/31/24", "2024-12-31"),
    ("%d %b %Y", "3 Mar 2024", "2024-03-03"),
    ("%d. %B %Y", "3. march 2024", "2024-03-03"),
    ("%Y%m%d", "20240303", "2024-03-03"),
]


@pytest.mark.parametrize(("form", "text", "wanted"), DATES)
def test_dates_are_read_as_they_are_declared(sales: Sales, form: str, text: str, wanted: str) -> None:
    assert sales.rows(f'date_format = "{form}"', f"id,day\n1,{text}\n2,\n", "day::VARCHAR") == [(wanted,), (None,)]


OTHER_DATES = ["2024-12-31", "12/31/2024", "31/12/24", "31/12/2024 10:00", "30/02/2024", "31/12/0999"]


@pytest.mark.parametrize("text", OTHER_DATES)
def test_another_date_than_the_declared_is_refused(sales: Sales, text: str) -> None:
    told = sales.refusal('date_format = "%d/%m/%Y"', f"id,day\n1,{text}\n")
    assert told == f"row 1, column day: {text!r} is no DATE as %d/%m/%Y (line 2)"


MOMENTS = [
    ("%d/%m/%Y %H:%M", "31/12/2024 23:59", "2024-12-31 23:59:00"),
    ("%d/%m/%Y %I:%M:%S %p", "31/12/2024 11:59:01 PM", "2024-12-31 23:59:01"),
    ("%d.%m.%Y %H:%M:%S.%f", "31.12.2024 23:59:01.123456", "2024-12-31 23:59:01.123456"),
    ("%d %b %Y %H:%M %z", "31 Dec 2024 23:59 +0200", "2024-12-31 21:59:00"),
]


@pytest.mark.parametrize(("form", "text", "wanted"), MOMENTS)
def test_timestamps_are_read_as_they_are_declared(sales: Sales, form: str, text: str, wanted: str) -> None:
    content = f"id,moment,day\n1,{text},2024-12-31\n"
    assert sales.rows(f'timestamp_format = "{form}"', content, "moment::VARCHAR") == [(wanted,)]
    assert "is no TIMESTAMP as" in sales.refusal(f'timestamp_format = "{form}"', "id,moment\n1,2024-12-31 23:59\n")


def test_nanoseconds_are_refused_with_a_format_too(sales: Sales) -> None:
    told = sales.refusal('timestamp_format = "%d/%m/%Y %H:%M:%S.%f"', "id,moment\n1,31/12/2024 10:00:00.1234567\n")
    assert told.endswith(": times are kept to the microsecond (line 2)")


TEXT = "id,name\n1,Ærøskøbing\n2,Łódź €\n"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8", "utf-8-sig", "windows-1250"])
def test_an_encoding_is_read_and_a_byte_order_mark_is_no_text(sales: Sales, encoding: str) -> None:
    text = TEXT.replace("Ærøskøbing", "Ärger") if encoding == "windows-1250" else TEXT
    mark = "\ufeff" if encoding == "utf-16-le" else ""
    dialect = f'encoding = "{encoding.removesuffix("-sig")}"'
    assert sales.rows(dialect, (mark + text).encode(encoding), "id, name")[1] == (2, "Łódź €")


def test_a_file_of_another_encoding_says_so_itself_or_is_refused(sales: Sales) -> None:
    assert sales.rows('encoding = "latin-1"', TEXT.encode("utf-8-sig"), "name")[1] == ("Łódź €",)
    wanted = "line 3: it holds bytes that are no text in windows-1252"
    assert sales.refusal('encoding = "windows-1252"', b"id,name\n1,a\n2,\x81\n").startswith(wanted)
    assert "it holds bytes" in sales.refusal('encoding = "utf-16"', TEXT.encode("utf-16")[:-1])
    latin = sales.refusal("", "id,name\n1,caf\u00e9\n".encode("latin-1"))
    assert "line 2: byte 13 of the file is no UTF-8 text" in latin and 'encoding = "windows-1252"' in latin
    assert 'encoding = "utf-16"' in sales.refusal("", TEXT.encode("utf-16"))


def test_a_long_file_in_another_encoding_is_the_same(sales: Sales) -> None:
    content = "id,name\n" + "".join(f"{number},Perú {number}\n" for number in range(40_000))
    found = sales.rows('encoding = "latin-1"', content.encode("latin-1"), "count(*), sum(id), max(name)")
    assert found == sales.rows("", content, "count(*), sum(id), max(name)")


QUOTES = [
    ('quote = "\'"', "id,name\n1,'a,''b'\n", "a,'b"),
    ('escape = "\\\\"', 'id,name\n1,"a,\\"b\\\\"\n', 'a,"b\\'),
    ('quote = ""', 'id,name\n1,"a\n', '"a'),
    ('delimiter = "\\t"', 'id\tname\n1\t"a\tb"\n', "a\tb"),
    ('delimiter = "|"', "id|name\n1|a,b;c\n", "a,b;c"),
    ('delimiter = "§"', "id§name\n1§a\n", "a"),
]


@pytest.mark.parametrize(("dialect", "content", "wanted"), QUOTES)
@pytest.mark.parametrize("mixed", [False, True])
def test_quotes_and_delimiters(sales: Sales, dialect: str, content: str, wanted: str, mixed: bool) -> None:
    content = content.replace("\n", "\r\n", 1) if mixed else content
    assert sales.rows(dialect, content, "id, name") == [(1, wanted)]


@pytest.mark.parametrize("escape", ['"', "\\"])
def test_line_ends_inside_quotes_stay_when_those_between_records_differ(sales: Sales, escape: str) -> None:
    value = f'two\r\nlines{escape}"and{escape}"\r\nmore'
    dialect = "escape = '\\'" if escape == "\\" else ""
    content = f'id,name\r\n1,"{value}"\n2,b\r\n'
    assert sales.rows(dialect, content, "name") == [('two\r\nlines"and"\r\nmore',), ("b",)]


def test_lines_before_the_header_and_comments_are_no_rows_and_lines_keep_their_numbers(sales: Sales) -> None:
    dialect = 'skip_rows = 2\ncomment = "#"\n'
    content = 'Report of "May\n\n# columns\nid,name\n# first\n1,"a\n# no comment\nb"\n#\n2,c # kept\n'
    assert sales.rows(dialect, content, "id, name, source_row") == [(1, "a\n# no comment\nb", 1), (2, "c # kept", 2)]
    assert sales.refusal(dialect, content + "x,y\n") == "row 3, column id: 'x' is no BIGINT (line 11)"
    assert "Line: 11" in sales.refusal(dialect, content + "3,y,z\n")
    assert "can't have comments" in sales.refusal('comment = "#"', "id\n1\n# x\n2\n")


def test_blank_lines_before_the_header_of_one_column_are_no_rows(sales: Sales) -> None:
    assert sales.rows("", "\n\nid\n1\n2\n", "id") == [(1,), (2,)]


def test_a_header_of_several_lines_names_a_column_by_all_of_them(sales: Sales) -> None:
    content = "id,Sales,,day\n,2023,2024,\n1,5,6,2024-01-01\n"
    selected = "id, sales_2023, sales_2024, day::VARCHAR"
    assert sales.rows("header_rows = 2", content, selected) == [(1, 5, 6, "2024-01-01")]
    assert "fewer than the 2 lines" in sales.refusal("header_rows = 2", "id\n")


def test_a_file_without_a_header_has_the_declared_columns(sales: Sales) -> None:
    content = "1,2024-01-01,2024-01-01 10:00:00,1.50,0.5,a\n2,,,,,\n"
    assert sales.rows("header_rows = 0", content, "id, name, source_row") == [(1, "a", 1), (2, None, 2)]
    assert "(line 1)" in sales.refusal("header_rows = 0", "x" + content)


def test_texts_that_mean_nothing_are_null(sales: Sales) -> None:
    content = "id,amount,name\n1,NA,-\n2,1.5,n/a\n"
    assert sales.rows('null_texts = ["NA", "-"]', content, "amount, name") == [(None, None), (Decimal("1.50"), "n/a")]


FAULTS = [
    ('delimiter = ""', "delimiter must be one character"),
    ('quote = "ab"', 'quote must be one character or ""'),
    ('quote = "«"', "quote must be in ASCII"),
    ('decimal = ","\nthousands = ","', "decimal and thousands are both ','"),
    ('decimal = "1"', "decimal can't be '1'"),
    ('encoding = "utf-9"', "encoding utf-9 is none: utf-8, utf-16, latin-1"),
    ('encoding = "base64"', "encoding base64 is none"),
    ('date_format = "dd/mm/yyyy"', "date_format 'dd/mm/yyyy' is no form of a date: it needs a year, a month and a day"),
    ('date_format = "%d/%m/%Y %H"', "date_format has a time of day: that is timestamp_format"),
    ('skip_rows = "1"', "skip_rows must be a whole number"),
    ("header_rows = true", "header_rows must be a whole number"),
    ("null_texts = [1]", "null_texts must be a list of texts"),
    ('date_fromat = "%d"', "date_fromat is not a field: did you mean date_format?"),
    ("quote = 7", "quote must be a text"),
]


@pytest.mark.parametrize(("dialect", "sentence"), FAULTS)
def test_a_wrong_dialect_is_said(dialect: str, sentence: str) -> None:
    with pytest.raises(DeclarationError, match="dlt_sources/datasets/sales.toml") as raised:
        declare(dialect)
    assert sentence in str(raised.value)
