"""Whatever a file holds, its rows arrive exactly or it is refused: files broken at random, any header, any text.

Two things no reader can see. A CSV file protects nothing: a letter that became another is another letter, so what
counts is that the rows are those that another reader finds in the same bytes. Parquet protects its pages where their
writer added checksums, and never its footer, which has the columns' names and types: the number of rows must be right
all the same.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlt_sources.landing.file_reader import FileReader
from dlt_sources.landing.naming import column_name
from dlt_sources.landing.typed_parquet import UnusableFile
from tests.dlt_sources.test_typed_parquet import DATASET

ROWS = 300
TRUTH = [
    (n, datetime(2024, 1, 1 + n % 28), date(2024, 1 + n % 12, 1), Decimal(n) / 4, n * 1.5, f"name {n % 37}", n % 2 == 0)
    for n in range(ROWS)
]
COLUMNS = ("id", "moment", "day", "amount", "ratio", "name", "flag")


def parquet(**options: Any) -> bytes:
    """The truth as a Parquet file."""
    table = pa.table({name: [row[index] for row in TRUTH] for index, name in enumerate(COLUMNS)})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


PARQUET = {
    "plain": parquet(compression="none"),
    "snappy": parquet(),
    "zstd, pages of version 2, row groups": parquet(compression="zstd", data_page_version="2.0", row_group_size=100),
}
CHECKSUMMED = {
    "plain": parquet(compression="none", use_dictionary=False, write_page_checksum=True),
    "snappy, row groups": parquet(row_group_size=100, write_page_checksum=True),
}


class Reading:
    """Reads content as a load does, and what came of it."""

    def __init__(self, folder: Path, reader: FileReader) -> None:
        self.folder, self.reader, self.number = folder, reader, 0

    def rows(self, content: bytes, ending: str, selected: str = ", ".join(COLUMNS)) -> list[tuple[Any, ...]] | None:
        """The rows; None when the file is refused, with a sentence."""
        self.number += 1
        path, target = self.folder / f"landed{self.number}.{ending}", self.folder / f"out{self.number}"
        path.write_bytes(content)
        try:
            written = self.reader.write(
                DATASET,
                path,
                target,
                "file",
                known_columns=DATASET.table.column_types,
                headers={},
                load_id="load",
            )
        except UnusableFile as error:
            sentence = str(error)
            assert 10 < len(sentence) < 600 and sentence.isprintable() and str(self.folder) not in sentence
            unforeseen = ("the reader failed", "crashed the reader", "makes no sense")
            assert not any(text in sentence for text in unforeseen)
            return None
        rows = duckdb.sql(f"SELECT {selected} FROM read_parquet('{target}') ORDER BY source_row").fetchall()
        assert len(rows) == written.rows
        return rows


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reading]:
    with FileReader() as reader:
        yield Reading(tmp_path_factory.mktemp("any"), reader)


@st.composite
def damage(draw: st.DrawFn, size: int) -> Any:
    """What happens to a file's bytes: bits turn, a part goes missing or is overwritten, the end is cut off."""
    places = st.integers(0, size - 1)
    kind = draw(st.sampled_from(["bits", "bits", "cut", "gone", "noise", "zeros"]))
    place, length = draw(places), draw(st.integers(1, 64))
    bits = draw(st.lists(st.tuples(places, st.integers(0, 7)), min_size=1, max_size=3))
    noise = draw(st.binary(min_size=length, max_size=length))

    def apply(content: bytes) -> bytes:
        broken = bytearray(content)
        if kind == "bits":
            for at, bit in bits:
                broken[at] ^= 1 << bit
        elif kind == "cut":
            del broken[place:]
        else:
            broken[place : place + length] = {"gone": b"", "noise": noise, "zeros": bytes(length)}[kind]
        return bytes(broken)

    return apply


def test_the_sound_files_are_read_as_they_are(reading: Reading) -> None:
    for content in (*PARQUET.values(), *CHECKSUMMED.values()):
        assert reading.rows(content, "parquet") == TRUTH


@given(st.data())
def test_a_broken_parquet_file_never_has_more_or_fewer_rows(reading: Reading, data: st.DataObject) -> None:
    content = PARQUET[data.draw(st.sampled_from(sorted(PARQUET)))]
    rows = reading.rows(data.draw(damage(len(content)))(content), "parquet")
    assert rows is None or len(rows) == ROWS


@given(st.data())
def test_parquet_pages_with_checksums_are_exact_or_refused(reading: Reading, data: st.DataObject) -> None:
    content = CHECKSUMMED[data.draw(st.sampled_from(sorted(CHECKSUMMED)))]
    pages = len(content) - int.from_bytes(content[-8:-4], "little") - 8
    broken = data.draw(damage(pages - 64))(content)
    rows = reading.rows(broken, "parquet")
    assert rows is None or rows == TRUTH


EVENTS = "id,name,amount\n" + "".join(f'{n},"name, {n}",{n}.25\n' for n in range(ROWS))


@given(damage(len(EVENTS)))
def test_a_broken_csv_file_has_the_rows_that_another_reader_finds_in_it(reading: Reading, break_it: Any) -> None:
    broken = break_it(EVENTS.encode())
    rows = reading.rows(broken, "csv", "source_row, name")
    if rows is None:
        return
    others = [record for record in csv.reader(io.StringIO(broken.decode("utf-8-sig"), newline="")) if record]
    assert len(rows) == len(others) - 1
    if "name" in others[0]:
        at = others[0].index("name")
        assert [name or "" for _, name in rows] == [record[at] for record in others[1:]]


@given(damage(len(gzip.compress(EVENTS.encode(), mtime=0))), st.binary(min_size=1, max_size=200))
def test_what_is_no_csv_and_no_parquet_is_refused(reading: Reading, break_it: Any, noise: bytes) -> None:
    assert reading.rows(break_it(gzip.compress(EVENTS.encode(), mtime=0)), "csv") is None
    assert reading.rows(noise, "parquet") is None


TEXT = st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"]), max_size=20)
HEADER = st.one_of(
    TEXT,
    st.sampled_from(
        ["SELECT", "order by", 'a"b', "a'b", "x'); DROP TABLE y; --", "Größe", "數量", "🚕", "ID", " id ", "name",
         "NAME", "source_row", "_dlt_id", "file_row_number", "rowid", "c0", "row_number", "record", "%", "a.b", "a__b",
         "1st", "\0"]
    ),
)  # fmt: skip


@given(headers=st.lists(HEADER, min_size=1, max_size=5), data=st.data())
def test_any_header_and_any_text_come_back_as_they_were_or_are_refused(
    reading: Reading, headers: list[str], data: st.DataObject
) -> None:
    lines = [["id", *headers], *(["1", *(f"t{data.draw(TEXT)}" for _ in headers)] for _ in range(2))]
    content = io.StringIO(newline="")
    csv.writer(content, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(lines)
    names = [{"thename": "name"}.get(column_name(name), column_name(name)) for name in headers if name.strip()]
    selected = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
    try:
        rows = reading.rows(content.getvalue().encode(), "csv", selected)
    except duckdb.BinderException:
        pytest.fail(f"no column {names}")
    if rows is not None:
        assert rows == [tuple(line[1:]) for line in lines[1:]]
