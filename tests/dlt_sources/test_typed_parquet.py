"""A file becomes rows of its dataset exactly, or is refused with a sentence that says where and why."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlt_sources.landing.landed import Dataset
from dlt_sources.landing.tables import Column
from dlt_sources.landing.typed_parquet import TypedParquet, UnusableFile, connect

DATASET = Dataset(
    name="things",
    entity="things",
    description="Things.",
    pattern="*",
    event_time="moment",
    columns=(
        Column("id", "BIGINT", "Number.", required=True),
        Column("moment", "TIMESTAMP", "Moment."),
        Column("day", "DATE", "Day."),
        Column("amount", "DECIMAL(12,2)", "Amount."),
        Column("ratio", "DOUBLE", "Ratio."),
        Column("name", "VARCHAR", "Name.", aliases=("TheName",)),
        Column("flag", "BOOLEAN", "Flag."),
    ),
)


class Converter:
    """Converts content in a scratch folder and reads the result back."""

    def __init__(self, folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
        self.folder = folder
        self.number = 0
        self.connection = connection
        self.parquet = TypedParquet(
            connection,
            DATASET,
            known_columns={column.name: column.type for column in DATASET.table.columns},
            headers={},
            load_id="load",
        )

    def rows(self, content: str | bytes, columns: str = "*", ending: str = "csv") -> list[tuple[object, ...]]:
        # A path of its own, as in a load: DuckDB caches files by path and time.
        self.number += 1
        path = self.folder / f"landed{self.number}.{ending}"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        self.parquet.write(path, self.folder / f"out{self.number}", "file.csv")
        return self.connection.execute(
            f"SELECT {columns} FROM read_parquet('{self.folder}/out{self.number}') ORDER BY source_row"
        ).fetchall()

    def refusal(self, content: str | bytes, ending: str = "csv") -> str:
        with pytest.raises(UnusableFile) as raised:
            self.rows(content, ending=ending)
        message = str(raised.value)
        assert str(self.folder) not in message, "our scratch folder is nobody's business"
        assert len(message) < 500
        return message


@pytest.fixture(scope="module")
def converter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Converter]:
    folder = tmp_path_factory.mktemp("scratch")
    with connect(folder) as connection:
        yield Converter(folder, connection)


MISFITS = [
    ("id", "1.5", "BIGINT"),
    ("id", "9223372036854775808", "BIGINT"),
    ("id", "one", "BIGINT"),
    ("moment", "2024-02-30 00:00:00", "TIMESTAMP"),
    ("moment", "infinity", "TIMESTAMP"),
    ("moment", "10000-01-01 00:00:00", "TIMESTAMP"),
    ("moment", "0044-03-15 (BC)", "TIMESTAMP"),
    ("day", "0000-01-01", "DATE"),
    ("day", "2024-01-01 12:00:00", "DATE"),
    ("day", "yesterday", "DATE"),
    ("amount", "0.005", "DECIMAL(12,2)"),
    ("amount", "1e-9", "DECIMAL(12,2)"),
    ("amount", "1e-15", "DECIMAL(12,2)"),
    ("amount", "0.0000000000000025", "DECIMAL(12,2)"),
    ("id", "10000000000001e-13", "BIGINT"),
    ("amount", "99999999999.00", "DECIMAL(12,2)"),
    ("ratio", "NaN", "DOUBLE"),
    ("ratio", "-inf", "DOUBLE"),
    ("ratio", "1,5", "DOUBLE"),
    ("flag", "perhaps", "BOOLEAN"),
]


@pytest.mark.parametrize(("column", "value", "kind"), MISFITS)
def test_a_value_that_does_not_fit_is_named_with_row_and_column(
    converter: Converter, column: str, value: str, kind: str
) -> None:
    names = ["id"] if column == "id" else ["id", column]
    good, bad = (["1"] if column == "id" else ["1", ""]), ([value] if column == "id" else ["2", f'"{value}"'])
    content = "\n".join(",".join(fields) for fields in (names, good, bad)) + "\n"
    assert converter.refusal(content) == f"row 2, column {column}: {value!r} is no {kind} (line 3)"


FITS = [
    ("id", "1.0", 1),
    ("id", "1e3", 1000),
    ("id", " 7 ", 7),
    ("amount", "1.500", "1.50"),
    ("amount", "1.5000000000000000", "1.50"),
    ("amount", "15e-1", "1.50"),
    ("amount", "-3", "-3.00"),
    ("ratio", "1e-3", 0.001),
    ("moment", "2024-01-01T10:00:00Z", "2024-01-01 10:00:00"),
    ("moment", "2024-01-01 10:00:00+02", "2024-01-01 08:00:00"),
    ("moment", "2024-01-01 10:00:00 UTC", "2024-01-01 10:00:00"),
    ("moment", "2024-01-01 10:00:00 America/New_York", "2024-01-01 15:00:00"),
    ("moment", "2024-01-01", "2024-01-01 00:00:00"),
    ("day", "2024-01-01 00:00:00", "2024-01-01"),
    ("day", "   ", None),
    ("flag", "TRUE", True),
]


@pytest.mark.parametrize(("column", "value", "wanted"), FITS)
def test_a_value_that_fits_is_taken_as_it_is(converter: Converter, column: str, value: str, wanted: object) -> None:
    content = f"id\n{value}\n" if column == "id" else f"id,{column}\n1,{value}\n"
    selected = f"{column}::VARCHAR" if isinstance(wanted, str) else column
    assert converter.rows(content, selected) == [(wanted,)]


REFUSED = {
    "nothing in it": (b"", "the file is empty"),
    "only blanks": (b" \n\n ", "the file is empty"),
    "a PDF": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "it is a PDF, not CSV"),
    "a Parquet file under another name": (b"PAR1\x15\x04\x00\x00", "it is a Parquet file, not CSV"),
    "another table": (b"colour,size\nred,1\n", "no column id; the file's columns are: colour, size"),
    "a header twice": (b"id,name,Name\n1,a,b\n", "column 3, 'Name', is there twice: both are name"),
    "a header and its alias": (b"id,name,TheName\n1,a,b\n", "column 3, 'TheName', is there twice: both are name"),
    "a nameless column": (b"id,,name\n1,a,b\n", "column 2 has no name"),
    "a name of ours": (b"id,source_file\n1,a\n", "column 2, 'source_file', has a name that the lake keeps for itself"),
    "dlt's name": (b"id,_dlt_load_id\n1,a\n", "has a name that the lake keeps for itself"),
    "a value too many": (b"id,name\n1,a\n2,b,c\n", "Line: 3"),
    "a value too few": (b"id,name\n1,a\n2\n", "Line: 3"),
    "a value too many, and mixed line ends": (b"id,name\r\n1,a\n2,b,c\r\n3,d\n", "Line: 3"),
    "a quote never closed": (b'id,name\n1,"a\n2,b\n', "quote"),
    "a quote never closed, and mixed line ends": (b'id,name\r\n1,x\n2,"a\n3,b\n', "quote"),
    "text after a quote": (b'id,name\n1,"a"b\n', "quote"),
    "Latin-1": ("id,name\n1,café\n".encode("latin-1"), "UTF-8"),
    "Latin-1 after a megabyte": (b"id,name\n" + b"1,abc\n" * 200_000 + b"1,caf\xe9\n", "utf-8"),
    "UTF-16": ("id,name\n1,a\n".encode("utf-16"), "it is UTF-16 text"),
    "a NUL in a value": (b"id,name\n" + b"1,abc\n" * 2000 + b"2,a\0b\n", "row 2001, column name: 'a"),
    "a type that changes in the middle": (b"id\n" + b"1\n" * 3000 + b"x\n", "row 3001, column id: 'x' is no BIGINT"),
    "a very long line": (b"id,name\n1," + b"x" * 3_000_000 + b"\n", "line 2 is longer than 2,000,000 bytes"),
    "too many columns": (
        ("id," + ",".join(f"c{n}" for n in range(10_000)) + "\n").encode(),
        "10001 columns (id, c0, c1, …); at most 110 can be taken",
    ),
}


@pytest.mark.parametrize(("content", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_a_file_that_is_no_csv_of_the_dataset_is_refused(converter: Converter, content: bytes, reason: str) -> None:
    assert reason in converter.refusal(content)


def test_broken_parquet_files_are_refused(converter: Converter, tmp_path: Path) -> None:
    good = tmp_path / "good.parquet"
    duckdb.sql(f"COPY (SELECT range AS id, 'name' || range AS name FROM range(5000)) TO '{good}'")
    content = good.read_bytes()
    assert len(converter.rows(content, ending="parquet")) == 5000
    for broken in (b"", content[:-20], content[: len(content) // 2], b"id,name\n1,a\n"):
        assert converter.refusal(broken, ending="parquet").startswith("no readable PARQUET file: ")


TOLD = ("no readable PARQUET file: ", "no column id", "row ", "column ")


def test_bits_flipped_in_a_parquet_footer_are_refused_or_harmless(converter: Converter, tmp_path: Path) -> None:
    good = tmp_path / "good.parquet"
    duckdb.sql(f"COPY (SELECT range AS id, 'name' || range AS name FROM range(5000)) TO '{good}'")
    content = good.read_bytes()
    refusals = []
    for place in range(len(content) - 400, len(content), 7):
        flipped = content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]
        try:
            converter.rows(flipped, ending="parquet")
        except UnusableFile as error:
            refusals.append(str(error))
    assert len(refusals) > 10
    assert all(
        refusal.startswith(("no readable PARQUET file: ", "no column id", "row ", "column ")) for refusal in refusals
    )
    assert len(converter.rows(content, ending="parquet")) == 5000, "the next file is none the worse"


def test_parquet_types_are_carried_over_exactly(converter: Converter, tmp_path: Path) -> None:
    path = tmp_path / "typed.parquet"
    duckdb.sql(
        "COPY (SELECT 1::INT AS id, TIMESTAMPTZ '2024-01-01 10:00:00+02' AS moment, 12.65::FLOAT AS ratio,"
        " 7.0::DOUBLE AS name, {'a': [1, 2]} AS nested, 3::UTINYINT AS small, 1.5::DECIMAL(9,3) AS precise)"
        f" TO '{path}'"
    )
    selected = "id, moment::VARCHAR, ratio, name, nested, small, typeof(small), precise::VARCHAR, typeof(precise)"
    found = converter.rows(path.read_bytes(), selected, ending="parquet")
    assert found == [(1, "2024-01-01 08:00:00", 12.65, "7", '{"a":[1,2]}', 3, "BIGINT", "1.500", "DECIMAL(9,3)")]


def test_a_new_text_column_is_a_number_only_if_every_value_is_plainly_one(converter: Converter) -> None:
    content = "id,fee,zip,mixed,nothing\n1,0.75,00501,1,\n2,,10001,x,\n"
    assert converter.rows(content, "typeof(fee), typeof(zip), typeof(mixed), typeof(nothing), fee, zip") == [
        ("DOUBLE", "VARCHAR", "VARCHAR", "VARCHAR", 0.75, "00501"),
        ("DOUBLE", "VARCHAR", "VARCHAR", "VARCHAR", None, "10001"),
    ]


TEXT = st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=30)


@given(
    values=st.lists(
        st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=30),
        min_size=1,
        max_size=8,
    ),
    line_ends=st.lists(st.sampled_from(["\n", "\r\n"]), min_size=9, max_size=9),
)
def test_any_text_comes_back_as_it_was_whatever_the_line_ends(
    converter: Converter, values: list[str], line_ends: list[str]
) -> None:
    content = "id,name" + line_ends[0]
    for number, value in enumerate(values):
        quoted = '"' + value.replace('"', '""') + '"'
        content += f"{number},{quoted}{line_ends[number + 1]}"
    assert [row[0] or "" for row in converter.rows(content, "name")] == values


def test_a_mark_of_the_byte_order_a_row_of_tags_line_breaks_and_quotes_are_read_as_they_are_meant(
    converter: Converter,
) -> None:
    content = (
        "\ufeffid,day,name,moment\r\n#id,#date,#loc+name,#moment\r\n"
        '1,2024-01-15,"Rice\r\nwhite, ""long""",\r\n2,,Maïs,\n'
    )
    assert converter.rows(content, "source_row, id, name, moment") == [
        (1, 1, 'Rice\r\nwhite, "long"', None),
        (2, 2, "Maïs", None),
    ]


def test_what_pythons_csv_reader_sees_is_what_is_loaded(converter: Converter, shared_data: Path) -> None:
    """The file with the most quoted commas and line breaks, against another implementation."""
    path = shared_data / "humanitarian" / "fts_incoming_funding_global.csv"
    text = path.read_text(encoding="utf-8-sig")
    rows = list(csv.reader(io.StringIO(text, newline="")))
    as_things = io.StringIO(newline="")
    writer = csv.writer(as_things, lineterminator="\n")
    writer.writerow(["id", "name"])
    writer.writerows([number, row[2]] for number, row in enumerate(rows[1:]))
    assert [row[0] or "" for row in converter.rows(as_things.getvalue(), "name")] == [row[2] for row in rows[1:]]


def test_the_line_of_a_misfit_counts_line_breaks_inside_values_and_empty_lines(converter: Converter) -> None:
    content = 'id,name\r\n1,"two\r\nlines"\r\n\r\n2,b\r\nx,"c\r\nd"\r\n'
    assert converter.refusal(content) == "row 3, column id: 'x' is no BIGINT (line 6)"


def test_rows_of_one_file_that_share_the_datasets_key_are_refused(converter: Converter) -> None:
    keyed = Converter(converter.folder / "keyed", converter.connection)
    keyed.folder.mkdir()
    keyed.parquet = replace(keyed.parquet, dataset=replace(DATASET, key=("id", "name")))
    assert len(keyed.rows("id,name\n1,a\n1,b\n2,a\n")) == 3
    assert keyed.refusal("id,name\n1,a\n1,b\n1,a\n") == "row 3, column id, name: id 1, name a is in row 1 too"
