"""A header's column: names of any script survive, two names never share a column, and Latin ones stay as they were."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from dlt.common.normalizers.naming.snake_case import NamingConvention
from hypothesis import example, given
from hypothesis import strategies as st

from dlt_sources.landing.landed import Dataset
from dlt_sources.landing.naming import column_name, comparable
from dlt_sources.landing.tables import Column
from dlt_sources.landing.typed_parquet import TypedParquet, UnusableFile, connect
from tests.dlt_sources.test_typed_parquet import DATASET

snake_case = NamingConvention().normalize_identifier
ONE = replace(DATASET, columns=(Column("id", "BIGINT", "Number.", required=True),))
WORDS = ["ключ", "цена", "価格", "名前", "größe", "Preis €", "Preis $", "Preis %", "%", "#", "€", "🚕", "a__b", "a_b",
         "2024", "_x", "x_", "xx", "Tax", "Ta)", "a+b", "a*b", "axb", "m²", "m2", "NFÖ", "é", "e", "İ", "i", "ı", "ﬁ",
         "SELECT", "order by", 'a"b', "a.b", "naïve\nname", "שם", "\u200fשם", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🏴󠁧󠁢󠁳󠁣󠁴󠁿"]  # fmt: skip
HEADER = st.sampled_from(WORDS) | st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co"]), min_size=1, max_size=6
).filter(lambda name: name.strip() != "")


@given(st.text(st.characters(max_codepoint=127), min_size=1, max_size=12).filter(lambda name: name.strip() != ""))
@example("Price (USD)")
@example("VendorID")
@example("tpep_pickup__datetime ")
def test_a_name_in_ascii_is_the_one_that_dlt_gives_it(header: str) -> None:
    assert column_name(header) == snake_case(header)


@given(HEADER)
def test_a_name_keeps_its_letters_is_the_same_for_each_spelling_of_them_and_comes_back_as_itself(header: str) -> None:
    name = column_name(header)
    assert (
        column_name(unicodedata.normalize("NFD", header)) == column_name(unicodedata.normalize("NFC", header)) == name
    )
    if not name.isascii():
        assert column_name(name) == name
        assert comparable(name) == comparable(header)
    for letter in unicodedata.normalize("NFC", header.strip()).lower():
        assert not letter.isalnum() or letter in name or header.isascii()


class Table:
    """A table that files bring columns to, as loads remember them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.number, self.connection = folder, 0, connect(folder)
        self.forget()

    def forget(self) -> None:
        self.types: dict[str, str] = dict(ONE.table.column_types)
        self.headers: dict[str, str] = {}

    def load(self, headers: list[str], dataset: Dataset = ONE) -> list[str] | str:
        """The columns of these headers; the sentence of a refusal."""
        self.number += 1
        path = self.folder / f"landed{self.number}.csv"
        quoted = ",".join('"' + header.replace('"', '""') + '"' for header in ["id", *headers])
        path.write_text(f"{quoted}\n1" + ",text" * len(headers) + "\n")
        parquet = TypedParquet(self.connection, dataset, self.types, self.headers, "load")
        try:
            written = parquet.write(path, self.folder / f"out{self.number}", "file")
        except UnusableFile as error:
            return str(error)
        self.types |= written.types
        self.headers = written.headers | self.headers
        by_header = {header: name for name, header in written.headers.items()}
        return [by_header[header.strip()] for header in headers]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    table = Table(tmp_path_factory.mktemp("names"))
    yield table
    table.connection.close()


@given(st.lists(st.lists(HEADER, min_size=1, max_size=3, unique_by=str.strip), min_size=1, max_size=4))
def test_two_names_never_share_a_column_within_a_file_or_from_file_to_file(
    table: Table, files: list[list[str]]
) -> None:
    table.forget()
    columns: dict[str, str] = {}
    for headers in [*files, *files]:
        found = table.load(headers)
        if isinstance(found, str):
            continue
        assert len(set(found)) == len(headers)
        for header, column in zip(headers, found, strict=True):
            assert comparable(columns.setdefault(column, header)) == comparable(header)
    assert len({name.casefold() for name in table.types}) == len(table.types), "dlt takes those for one"


def test_the_reported_headers_get_a_column_each(table: Table) -> None:
    table.forget()
    assert table.load(["ключ"]) == ["ключ"]
    assert table.load(["цена"]) == ["цена"]
    assert table.load(["価格", "名前"]) == ["価格", "名前"]
    assert table.load(["%", "€", "#"]) == ["x", "€", "#"]
    assert table.load(["größe", "grsse", "Preis €", "Preis $"]) == ["größe", "grsse", "preis_€", "preisx"]
    assert table.load(["Preis %"]) == ["preis_%"]
    assert table.load(["#", "Preis %"]) == ["#", "preis_%"], "the same from file to file"
    assert table.load(["a__b", "a_b"]) == "column 3, 'a_b', is there twice: both are a_b"
    assert table.load(["Straße"]) == ["straße"]
    assert (
        table.load(["Strasse"]) == "column 2, 'Strasse', differs from the column straße in nothing but case: rename it"
    )


@pytest.mark.parametrize("module", ["dlt_sources.dlt_naming", "dlt_sources.landing.dlt_naming"])
def test_a_lake_of_an_earlier_version_finds_the_naming_that_it_was_made_with(module: str) -> None:
    from dlt.common.schema.normalizers import naming_from_reference

    assert naming_from_reference(module).normalize_identifier("größe") == "größe"
