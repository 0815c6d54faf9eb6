"""`lakehouse dataset init`: a declaration drafted from files loads these files, and says what it guessed."""

from __future__ import annotations

import gzip
import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner

from dlt_sources import datasets
from dlt_sources.landing.drafting import draft
from lakehouse_assets.cli import landing as landing_cli
from tests.dlt_sources.workbook import DATE, workbook


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for files; the declarations go into one of their own."""
    (tmp_path / "declared").mkdir()
    monkeypatch.setattr(datasets, "FOLDER", tmp_path / "declared")
    (tmp_path / "desk").mkdir()
    return tmp_path / "desk"


def init(*arguments: object) -> Any:
    words = ["dataset", "init", *map(str, arguments)]
    return CliRunner().invoke(landing_cli.app, words, env={"COLUMNS": "200"})


def written(desk: Path, name: str) -> tuple[dict[str, Any], str]:
    """The declaration, and its text."""
    text = (desk.parent / "declared" / f"{name}.toml").read_text()
    return tomllib.loads(text), text


GERMAN = (
    "Bericht Mai\n\nNr;Betrag;Datum;Zeit;Größe;PLZ;Text\n"
    "1;1.234,50;31.12.2024;31.12.2024 10:00;1,5;01067;a\n2;5,00;01.01.2024;01.01.2024 11:30;2;80331;b\n"
)


@pytest.mark.slow
def test_a_file_with_its_own_marks_is_declared_so_that_it_loads(desk: Path) -> None:
    file = desk / "Umsatz_2024-05.csv"
    file.write_bytes(GERMAN.encode("latin-1"))
    done = init(file)
    assert done.exit_code == 0, done.output
    declared, text = written(desk, "umsatz")
    columns = declared.pop("columns")
    assert {name: hints["type"] for name, hints in columns.items()} == {
        "nr": "BIGINT", "betrag": "DECIMAL(18,2)", "datum": "DATE", "zeit": "TIMESTAMP", "grosse": "DECIMAL(18,2)",
        "plz": "VARCHAR", "text": "VARCHAR",
    }  # fmt: skip
    assert columns["grosse"]["aliases"] == ["Größe"]
    assert columns["nr"]["required"] and columns["zeit"]["required"]
    wanted = {
        "entity": "umsatz", "pattern": "Umsatz_*", "event_time": "zeit", "key": ["nr"], "delimiter": ";",
        "encoding": "windows-1252", "decimal": ",", "thousands": ".", "date_format": "%d.%m.%Y",
        "timestamp_format": "%d.%m.%Y %H:%M", "skip_rows": 2,
    }  # fmt: skip
    assert {name: declared[name] for name in wanted} == wanted and "description" in declared
    assert "# a guess: it is no UTF-8" in text and "# digits with zeros in front: a code" in text
    assert "Umsatz_2024-05.csv: would load, 2 rows" in done.stdout
    assert f"lakehouse upload {file} --dataset umsatz" in done.stdout


@pytest.mark.slow
def test_what_fits_in_two_ways_is_said(desk: Path) -> None:
    file = desk / "a.csv"
    file.write_text('id,day,amount\n1,01/02/2024,"1,234"\n2,03/04/2024,"5,678"\n')
    assert init(file, "--name", "a").exit_code == 0
    _, text = written(desk, "a")
    assert 'date_format = "%d/%m/%Y" # a guess: "%m/%d/%Y" fits every value too' in text
    assert 'decimal = "," # a guess: decimal = ".", thousands = "," fits every value too' in text
    file.write_text('id,day,amount\n1,01/13/2024,"1,234.5"\n')
    assert init(file, "--name", "b").exit_code == 0
    declared, text = written(desk, "b")
    assert (declared["date_format"], declared["thousands"]) == ("%m/%d/%Y", ",") and "a guess:" not in text


@pytest.mark.slow
def test_files_of_every_format_are_drafted_from(desk: Path) -> None:
    csv = "id,at,fee,name\n1,2024-01-01T10:00:00Z,0.125,a\n2,2024-01-02T10:00:00Z,7,b\n"
    rows = [{"id": 1, "at": "2024-01-01T10:00:00Z", "fee": 0.125, "name": "a"}, {"id": 2, "name": "b", "fee": 7}]
    (desk / "a.csv.gz").write_bytes(gzip.compress(csv.encode()))
    (desk / "b.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (desk / "c.xlsx").write_bytes(
        workbook({"S": [["id", "at", "fee", "name"], [1, (45657.5, DATE), 0.125, "a"], [2, None, 7, "b"]]})
    )
    duckdb.sql(f"COPY (SELECT 1 AS id, now() AS at, 0.5::DOUBLE AS fee, 'a' AS name) TO '{desk}/d.parquet'")
    wanted = {
        "a": ("BIGINT", "TIMESTAMP", "DOUBLE"),
        "b": ("BIGINT", "TIMESTAMP", "DOUBLE"),
        "c": ("BIGINT", "TIMESTAMP", "DOUBLE"),
        "d": ("INTEGER", "TIMESTAMPTZ", "DOUBLE"),
    }
    for file in sorted(desk.iterdir()):
        name = file.name[0]
        done = init(file, "--name", name, "--entity", "things")
        assert done.exit_code == 0 and "would load, " in done.stdout, done.output
        columns = written(desk, name)[0]["columns"]
        assert tuple(columns[column]["type"] for column in ("id", "at", "fee")) == wanted[name]
        assert columns["name"]["type"] == "VARCHAR"


def test_files_that_differ_are_told(desk: Path) -> None:
    (desk / "sales_01.csv").write_text("id,amount,tip\n1,5,1\n2,6,2\n")
    (desk / "sales_02.csv").write_text("id,amount\n1,x\n")
    done = init(*sorted(desk.iterdir()))
    assert done.exit_code == 0, done.output
    declared, text = written(desk, "sales")
    assert declared["columns"]["tip"]["required"] is False and "# in 1 of 2 files" in text
    assert declared["columns"]["amount"]["type"] == "VARCHAR"


def test_a_file_without_a_header_gets_names_to_be_changed(desk: Path) -> None:
    (desk / "raw.csv").write_text("1,2024-01-01,a\n2,2024-01-02,b\n")
    done = init(desk / "raw.csv")
    assert "would load, 2 rows" in done.stdout, done.output
    declared, text = written(desk, "raw")
    assert declared["header_rows"] == 0 and "Name the columns" in text
    assert [hints["type"] for hints in declared["columns"].values()] == ["BIGINT", "DATE", "VARCHAR"]


def test_what_no_draft_can_be_made_of_is_refused_and_nothing_is_overwritten(desk: Path) -> None:
    (desk / "a.csv").write_text("id\n1\n")
    (desk / "b.json").write_text("[1]")
    (desk / "c.pdf").write_text("%PDF-")
    (desk / "d.csv").write_bytes(b"%PDF-1.7\n%\xe2")
    assert "no file" in init(desk / "none.csv").output
    assert "files are of several formats" in init(desk / "a.csv", desk / "b.json", "--name", "x").output
    assert "b.json can't be read: line 1: wanted is an object" in init(desk / "b.json").output
    assert "c.pdf: files end in one of csv" in init(desk / "c.pdf").output
    assert "it is a PDF" in init(desk / "d.csv").output
    assert "is no name" in init(desk / "a.csv", "--name", "My Data").output
    assert not list(datasets.FOLDER.iterdir())
    assert init(desk / "a.csv").exit_code == 0
    before = written(desk, "a")[1]
    again = init(desk / "a.csv")
    assert again.exit_code == 1 and "dlt_sources/datasets/a.toml is there already" in again.output
    assert written(desk, "a")[1] == before


REAL = [
    ("ecommerce/rees46_events_2019-10-01_5k.csv", {"event_time": "TIMESTAMP", "price": "DECIMAL(18,2)"}),
    ("taxi/taxi_zone_lookup.csv", {"locationid": "BIGINT", "zone": "VARCHAR"}),
    ("humanitarian/cod_population_admin1.csv", {"Population": "BIGINT", "ISO3": "VARCHAR"}),
    ("taxi/yellow_tripdata_sample_2019-01.csv", {"pickup_datetime": "TIMESTAMP", "passenger_count": "BIGINT"}),
    ("humanitarian/hno_needs_global_2024.csv", {}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "types"), REAL)
def test_real_files_are_drafted_from_and_load(desk: Path, shared_data: Path, name: str, types: dict[str, str]) -> None:
    file = desk / Path(name).name
    shutil.copy(shared_data / name, file)
    done = init(file, "--name", "real")
    assert done.exit_code == 0 and "would load, " in done.stdout, done.output
    found = {hints["description"][:-1]: hints["type"] for hints in written(desk, "real")[0]["columns"].values()}
    assert {header: found[header] for header in types} == types


@pytest.mark.slow
def test_a_draft_is_the_same_twice(desk: Path) -> None:
    file = desk / "a.csv"
    file.write_bytes(GERMAN.encode())
    assert draft("a", "a", [file]) == draft("a", "a", [file])
