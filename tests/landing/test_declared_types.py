"""A declaration that changes: the table follows where nothing is lost, else the load is refused before it writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dlt_sources import datasets
from lakehouse_assets.defs.ingestion import sources
from lakehouse_assets.defs.ingestion.declared_types import differences
from tests.landing.conftest import EVENTS, LandingHouse, event

ON_A_FOLDER = pytest.mark.parametrize("storage_environment", ["folder"], indirect=True)
COUPON = EVENTS.strip() + ",coupon\n"
TYPES = (
    "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = 'raw'"
    " AND table_name = 'ecommerce__events'"
)


class Declaration:
    """The shop's declaration, in a folder where it can be changed."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ecommerce.toml"
        self.path.write_text((datasets.FOLDER / "ecommerce.toml").read_text())
        self.first = self.path.read_text()

    def change(self, before: str = "", after: str = "", *, more: str = "") -> None:
        """Begin with the first one again."""
        assert before in self.first
        self.path.write_text(self.first.replace(before, after, 1) + more)
        datasets.dataset.cache_clear()
        sources.sources.cache_clear()


@pytest.fixture
def declaration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Declaration]:
    folder = tmp_path / "declarations"
    folder.mkdir()
    yield_ = Declaration(folder)
    monkeypatch.setattr(datasets, "FOLDER", folder)
    monkeypatch.setattr(sources, "SOURCES_DIR", folder)
    yield_.change()
    yield yield_
    datasets.dataset.cache_clear()
    sources.sources.cache_clear()


def failure(house: LandingHouse) -> str:
    result = house.load(raise_on_error=False)
    (failed,) = [one for one in result.all_events if one.is_step_failure]
    return str(failed.step_failure_data.user_failure_data.description)


@pytest.mark.slow
@ON_A_FOLDER
def test_declaring_a_learned_column_otherwise_is_refused_and_nothing_stays_behind(
    house: LandingHouse, declaration: Declaration
) -> None:
    house.upload(house.file("1_events.csv", COUPON + event(1).strip() + ",12\n"))
    house.load()
    assert dict(house.rows(TYPES))["coupon"] == "DOUBLE"
    declaration.change(more='coupon = { type = "VARCHAR", description = "Code." }\n')
    spring = house.file("2_events.csv", COUPON + event(2).strip() + ",SPRING\n")
    done = house.upload(spring)
    sentence = "olumn coupon of raw.ecommerce__events is declared VARCHAR, the lake has DOUBLE"
    assert sentence in house.status()
    assert done.exit_code == 1 and sentence in done.stderr
    assert 'coupon_2 = { type = "VARCHAR", aliases = ["coupon"]' in done.stderr
    (house.lake.storage.root / "landing" / "ecommerce" / "2_events.csv").write_bytes(spring.read_bytes())
    assert sentence in failure(house)
    assert house.marks() == [] and house.per_file() == {"1_events.csv": 1}
    declaration.change(more='coupon_2 = { type = "VARCHAR", aliases = ["coupon"], description = "Code." }\n')
    house.load()
    assert house.rows("SELECT source_file, coupon, coupon_2 FROM raw.ecommerce__events ORDER BY 1") == [
        ("1_events.csv", 12.0, None),
        ("2_events.csv", None, "SPRING"),
    ]


@pytest.mark.slow
@ON_A_FOLDER
def test_a_table_follows_a_wider_declaration_and_keeps_every_value(
    house: LandingHouse, declaration: Declaration
) -> None:
    files = "".join(event(number, "1.10") for number in range(20))
    house.upload(house.file("1_events.csv", EVENTS + files))
    house.upload(house.file("2_events.csv", EVENTS + event(99, "9999999999.99")))  # few rows lie in the catalog
    house.load()
    declaration.change('revenue = { type = "DECIMAL(12,2)"', 'revenue = { type = "DECIMAL(18,4)"')
    wider = declaration.path.read_text().replace('user_id = { type = "BIGINT"', 'user_id = { type = "DOUBLE"')
    declaration.path.write_text(wider)
    datasets.dataset.cache_clear()
    with house.lake.connect(read_only=True) as connection:
        found = differences(connection, sources.tables_of("ecommerce"))
    assert [(one.column, one.can_follow) for one in found] == [("user_id", True), ("revenue", True)]
    half = event(3, "1.2345").replace("3,7,", "3,0.5,")
    assert house.upload(house.file("3_events.csv", EVENTS + half)).exit_code == 0
    house.load()
    assert dict(house.rows(TYPES))["revenue"] == "DECIMAL(18,4)"
    assert house.rows(
        "SELECT source_file, count(*), sum(revenue)::VARCHAR, sum(user_id) FROM raw.ecommerce__events"
        " GROUP BY ALL ORDER BY 1"
    ) == [
        ("1_events.csv", 20, "22.0000", 140.0),
        ("2_events.csv", 1, "9999999999.9900", 7.0),
        ("3_events.csv", 1, "1.2345", 0.5),
    ]
    declaration.change()
    assert "is declared BIGINT, the lake has DOUBLE" in failure(house)


@ON_A_FOLDER
def test_a_broken_declaration_stops_its_own_loads_with_all_its_faults(
    house: LandingHouse, declaration: Declaration
) -> None:
    declaration.change('event_time = "event_timestamp"', 'event_time = "when"', more='colour = { type = "ENUM" }\n')
    (table,) = sources.tables_of("ecommerce")
    assert (table.name, table.columns) == ("ecommerce__events", [])
    house.define("ecommerce")
    told = failure(house)
    for fault in ("colour: description is missing", "ENUM is no known type", "when is named but is none of [columns]"):
        assert fault in told
    assert house.upload(house.file("1_events.csv", EVENTS + event(1))).exit_code == 1
    assert "ENUM is no known type" in house.tick().skip_message
    declaration.path.write_text('entity = "events"\nnothing else')
    assert sources.dataset_names() == ["ecommerce"] and sources.tables_of("ecommerce")[0].name == "ecommerce__events"
    # Not even the table's name can be told: the graph comes up all the same, and the load says why.
    declaration.path.write_text("nothing")
    sources.sources.cache_clear()
    house.define("ecommerce")
    assert "datasets/ecommerce.toml: Expected" in failure(house)
