"""OpenLineage events say what runs have read and written, and no run waits for who takes them.

No `from __future__ import annotations` here: Dagster reads an op's annotations as they are.
"""

import json
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from openlineage.client.serde import Serde

from lakehouse import settings as settings_module
from lakehouse.settings import SettingsError, load_settings
from lakehouse_assets.defs.openlineage.events import Catalogue, events_of
from lakehouse_assets.defs.openlineage.sensor import openlineage_sensor
from tests.lakehouse_assets.test_documentation import known
from tests.webhook import PATH, Webhook, receiving

STORAGE = "s3://bucket/lake"
RAW, DAYS, OTHER = (dg.AssetKey(key) for key in (["raw", "crm__orders"], ["marts", "days"], ["marts", "other"]))
FILE = dg.AssetKey(["published", "days"])


@dg.asset(key=RAW)
def orders() -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"dagster/row_count": 7})


@dg.multi_asset(specs=[dg.AssetSpec(DAYS), dg.AssetSpec(OTHER)], can_subset=True)
def models(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
    """`marts.days` fails; `marts.other` is done before."""
    yield dg.MaterializeResult(asset_key=OTHER, metadata={"sqlmesh/duration_seconds": 0.0})
    raise dg.Failure("audit not_null found 1 row, of api_key=abcdefgh", metadata={"marts.days": "1 row"})


@dg.asset(key=FILE)
def published() -> None: ...


def catalogue(*_: Any) -> Catalogue:
    told = known()
    nodes = {RAW: "raw.crm__orders", DAYS: "marts.days", OTHER: "marts.other", FILE: "file.marts.days"}
    return Catalogue(STORAGE, nodes, told.tables, told.lineage)


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([orders, models, published], instance=instance, raise_on_error=False)
        yield instance


def told(instance: dg.DagsterInstance) -> list[dict[str, Any]]:
    (record,) = instance.get_run_records()
    return [json.loads(Serde.to_json(event)) for event in events_of(instance, record, catalogue())]


def test_each_asset_of_a_run_is_told_of_with_what_it_reads_and_where_its_columns_come_from(
    instance: dg.DagsterInstance,
) -> None:
    events = told(instance)
    said = {(event["job"]["name"], event["eventType"]): event for event in events}
    assert set(said) == {
        ("raw.crm__orders", "START"), ("raw.crm__orders", "COMPLETE"), ("marts.days", "START"), ("marts.days", "FAIL"),
        ("marts.other", "START"), ("marts.other", "COMPLETE"), ("published.days", "START"),
        ("published.days", "COMPLETE"),
    }  # fmt: skip
    load = said["raw.crm__orders", "COMPLETE"]
    (source,), (raw,) = load["inputs"], load["outputs"]
    assert (source["namespace"], source["name"], raw["name"]) == (STORAGE, "source.crm", "raw.crm__orders")
    assert raw["outputFacets"]["outputStatistics"]["rowCount"] == 7
    failed = said["marts.days", "FAIL"]
    (days,) = failed["outputs"]
    assert failed["run"]["facets"]["errorMessage"]["message"].startswith("audit not_null found 1 row")
    assert failed["job"]["facets"]["sql"]["query"] == "SELECT 1"
    fields = {one["name"]: one for one in days["facets"]["schema"]["fields"]}
    assert (fields["day"]["type"], fields["day"]["description"]) == ("DATE", "When it was bought [UTC]")
    made_of = days["facets"]["columnLineage"]["fields"]["day"]["inputFields"]
    assert [(one["name"], one["field"]) for one in made_of] == [("raw.crm__orders", "day")]
    assert said["published.days", "COMPLETE"]["inputs"][0]["name"] == "marts.days"
    assert said["published.days", "COMPLETE"]["job"]["facets"]["jobType"]["jobType"] == "RELEASE"


def test_events_are_what_the_specification_asks_for_and_the_same_when_told_again(instance: dg.DagsterInstance) -> None:
    events = told(instance)
    assert events == told(instance)
    began = {event["run"]["runId"]: event["eventTime"] for event in events if event["eventType"] == "START"}
    for event in events:
        assert event["schemaURL"].startswith("https://openlineage.io/spec/") and event["producer"] == "urn:lakehouse"
        assert uuid.UUID(event["run"]["runId"]) and datetime.fromisoformat(event["eventTime"]).tzinfo
        assert began[event["run"]["runId"]] <= event["eventTime"]
        parent = event["run"]["facets"]["parent"]
        assert uuid.UUID(parent["run"]["runId"]) and parent["job"]["name"]
        holders = [event["run"], event["job"], *event["inputs"], *event["outputs"]]
        facets = [facet for holder in holders for facet in (holder.get("facets") or {}).values()]
        assert facets and all(facet["_producer"] and facet["_schemaURL"] for facet in facets)


class Sensor:
    """The sensor as the daemon evaluates it; its cursor is kept, and what it logged as warnings."""

    def __init__(self, instance: dg.DagsterInstance, warnings: list[str]):
        self.instance, self.warnings = instance, warnings
        self.cursor: str | None = json.dumps({"since": "2020-01-01T00:00:00+00:00"})

    def tick(self) -> str:
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
        context.log.warning = lambda text, *_: self.warnings.append(text)  # type: ignore[method-assign]
        data = openlineage_sensor.evaluate_tick(context)
        self.cursor = data.cursor
        return str(data.skip_message)


@pytest.fixture
def sensor(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Sensor:
    monkeypatch.setattr(Catalogue, "read", catalogue)
    return Sensor(instance, [])


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    with receiving() as service, monkeypatch.context() as patch:
        patch.setenv("LAKEHOUSE_OPENLINEAGE", service.url)
        settings_module.load_settings.cache_clear()
        yield service
    settings_module.load_settings.cache_clear()


def test_an_address_that_is_away_is_warned_of_once_and_told_when_it_is_back(sensor: Sensor, service: Webhook) -> None:
    service.answers = [503, 503]
    assert sensor.tick() == "it takes no events: it answers 503"
    assert sensor.tick() == "it takes no events: it answers 503"
    assert len(sensor.warnings) == 1 and "LAKEHOUSE_OPENLINEAGE takes no events" in sensor.warnings[0]
    assert sensor.tick() == "told of 1 runs"
    assert len(service.messages) == 8 and "abcdefgh" not in json.dumps(service.messages)
    assert sensor.tick() == "told of 0 runs" and len(service.messages) == 8


def test_an_event_that_is_refused_for_good_is_left_out(sensor: Sensor, service: Webhook) -> None:
    service.answers = [422]
    assert sensor.tick() == "told of 1 runs"
    assert len(service.messages) == 7 and "refuses (422)" in sensor.warnings[0]


def test_a_file_has_a_line_for_each_event(sensor: Sensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_OPENLINEAGE", str(tmp_path / "events.jsonl"))
    settings_module.load_settings.cache_clear()
    assert sensor.tick() == "told of 1 runs"
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert len(lines) == 8 and {json.loads(line)["eventType"] for line in lines} == {"START", "COMPLETE", "FAIL"}
    settings_module.load_settings.cache_clear()


def test_an_address_with_a_password_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_OPENLINEAGE", "http://ann:s3cret@host/" + PATH)
    settings_module.load_settings.cache_clear()
    with pytest.raises(SettingsError, match="with the key in OPENLINEAGE_API_KEY") as refused:
        load_settings()
    assert "s3cret" not in str(refused.value)
    settings_module.load_settings.cache_clear()
