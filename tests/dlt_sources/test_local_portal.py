"""The local portal behaves as the real one: the contract that the source is tested against."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from lakehouse.demo.portal import DATASET_ID, RunningPortal
from lakehouse.demo.portal_faults import CutConnection, ShortPage


def ask(
    portal: RunningPortal, ending: str = "", headers: dict[str, str] | None = None, **query: Any
) -> requests.Response:
    """A request; `limit=5` is `$limit=5`, and a name that ends in _ is a field's."""
    parameters = {name[:-1] if name.endswith("_") else f"${name}": value for name, value in query.items()}
    address = f"{portal.base_url}/resource/{DATASET_ID}{ending}"
    return requests.get(address, params=parameters, headers=headers, timeout=10)


def test_a_page_is_an_array_of_objects_of_strings_without_nulls(portal: RunningPortal) -> None:
    response = ask(portal, limit=300, select=":*,*")
    assert response.headers["Content-Type"] == "application/json;charset=utf-8"
    assert response.headers["Transfer-Encoding"] == "chunked"
    rows = response.json()
    assert len(rows) == 300
    values = [(name, value) for row in rows for name, value in row.items()]
    assert {type(value) for name, value in values if name != "location"} == {str}
    location = next(value for name, value in values if name == "location")
    assert set(location) == {"latitude", "longitude", "human_address"}
    assert isinstance(json.loads(location["human_address"]), dict)
    assert any("borough" not in row for row in rows), "a null is left out"
    assert all({":id", ":created_at", ":updated_at"} <= row.keys() for row in rows)


def test_limits_offsets_and_orders(portal: RunningPortal) -> None:
    assert len(ask(portal).json()) == 300, "1000 without a limit"
    assert ask(portal, limit=10, offset=300).text.strip() == "[]"
    whole = [row["collision_id"] for row in ask(portal, order="collision_id desc", limit=300).json()]
    assert whole == sorted(whole, key=int, reverse=True)
    page = [row["collision_id"] for row in ask(portal, order="collision_id desc", limit=20, offset=40).json()]
    assert page == whole[40:60]
    unordered = [tuple(row["collision_id"] for row in ask(portal).json()) for _ in range(2)]
    assert unordered[0] != unordered[1]


ALL = [{"count": "300"}]
NONE = [{"count": "0"}]
CONDITIONS = {
    "crash_date between '1900-01-01' and '2100-01-01T00:00:00.000'": ALL,
    "number_of_persons_injured < 0 or borough is null and borough is not null": NONE,
    "borough in ('NOWHERE', 'it''s')": NONE,
    ":created_at <= :updated_at and not (`collision_id` != collision_id)": ALL,
    "starts_with(lower(borough), 'X') or date_extract_y(crash_date) < 1900": NONE,
}


@pytest.mark.parametrize(("condition", "wanted"), CONDITIONS.items())
def test_conditions(portal: RunningPortal, condition: str, wanted: list[dict[str, str]]) -> None:
    assert ask(portal, select="count(*)", where=condition).json() == wanted


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({"select": "count(*)"}, ALL),
        ({"select": "count(*) AS n"}, [{"n": "300"}]),
        ({"select": "sum(number_of_persons_injured - number_of_persons_injured) AS s"}, [{"s": "0"}]),
        ({"query": "SELECT count(*) AS n WHERE crash_date > '1900-01-01' LIMIT 1"}, [{"n": "300"}]),
        ({"select": "collision_id", "collision_id_": "0"}, []),
    ],
)
def test_queries(portal: RunningPortal, query: dict[str, Any], wanted: list[dict[str, str]]) -> None:
    assert ask(portal, **query).json() == wanted


def test_groups_add_up(portal: RunningPortal) -> None:
    year = "date_extract_y(crash_date)"
    rows = ask(portal, select=f"{year} AS year, count(*) AS n", group=year, order="n desc").json()
    counts = [int(row["n"]) for row in rows]
    assert sum(counts) == 300
    assert counts == sorted(counts, reverse=True)


def test_an_encoded_dollar_and_a_csv_ending_are_understood(portal: RunningPortal) -> None:
    address = f"{portal.base_url}/resource/{DATASET_ID}.csv?%24limit=2&%24select=collision_id"
    text = requests.get(address, timeout=10).text
    assert text.splitlines()[0] == '"collision_id"'
    assert len(text.splitlines()) == 3


@pytest.mark.parametrize("limit", [0, 5])
def test_headers_tell_fields_and_types_on_empty_pages_too(portal: RunningPortal, limit: int) -> None:
    headers = ask(portal, limit=limit, select=":updated_at,crash_date,location").headers
    assert json.loads(headers["X-SODA2-Fields"]) == [":updated_at", "crash_date", "location"]
    assert json.loads(headers["X-SODA2-Types"]) == ["fixed_timestamp", "floating_timestamp", "location"]
    assert headers["Last-Modified"].endswith("GMT")
    assert headers["X-SODA2-Truth-Last-Modified"] == headers["Last-Modified"]


def test_an_etag_saves_the_body_until_a_row_changes(portal: RunningPortal) -> None:
    etag = ask(portal, limit=1, order=":id").headers["ETag"]
    assert ask(portal, limit=1, order=":id", headers={"If-None-Match": etag}).status_code == 304
    portal.rows.insert([{"collision_id": "1", "crash_date": "2024-01-01T00:00:00.000"}])
    assert ask(portal, limit=1, order=":id", headers={"If-None-Match": etag}).status_code == 200


def test_errors_come_in_the_portals_two_envelopes(portal: RunningPortal) -> None:
    column = ask(portal, select="nothing")
    assert (column.status_code, column.json()["errorCode"]) == (400, "query.soql.no-such-column")
    assert column.json()["data"]["column"] == "nothing"
    malformed = ask(portal, where="borough = = 'X'")
    assert (malformed.status_code, malformed.json()["code"]) == (400, "query.compiler.malformed")
    injected = ask(portal, where="1=1); DROP TABLE crashes; --")
    assert injected.json()["code"] == "query.compiler.malformed"
    token = ask(portal, headers={"X-App-Token": "wrong"})
    assert (token.status_code, token.json()["message"]) == (403, "Invalid app_token specified")
    assert ask(portal, **{"$app_token": "wrong"}).status_code == 403
    missing = requests.get(f"{portal.base_url}/resource/abcd-efgh.json", timeout=10)
    assert (missing.status_code, missing.json()["code"]) == (404, "dataset.missing")
    assert missing.json()["data"] == {"id": "abcd-efgh"}


def test_metadata_name_the_fields_in_order(portal: RunningPortal) -> None:
    view = requests.get(f"{portal.base_url}/api/views/{DATASET_ID}.json", timeout=10).json()
    assert [column["fieldName"] for column in view["columns"]][:2] == ["crash_date", "crash_time"]
    assert len(view["columns"]) == 29


def test_a_short_page_and_a_cut_connection_are_what_they_say(portal: RunningPortal) -> None:
    portal.faults.order(ShortPage(3), CutConnection())
    assert len(ask(portal, limit=100).json()) == 3
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        ask(portal, limit=100)


def test_changes_get_later_times_and_system_fields_are_the_same_every_time(few_collisions: Path) -> None:
    from lakehouse.demo.portal_rows import PortalRows

    query = {"select": ":*,collision_id", "order": ":id"}
    one, two = PortalRows(few_collisions), PortalRows(few_collisions)
    assert one.query(query, 300, 0).rows == two.query(query, 300, 0).rows
    newest = json.loads(one.query({"select": ":updated_at", "order": ":updated_at desc"}, 1, 0).rows[0])[":updated_at"]
    collision_id = json.loads(one.query(query, 1, 0).rows[0])["collision_id"]
    one.change(collision_id, borough="ATLANTIS")
    changed = json.loads(one.query({"select": ":*,borough", "collision_id": collision_id}, 1, 0).rows[0])
    assert changed[":updated_at"] > newest
    assert changed["borough"] == "ATLANTIS"


def test_it_runs_as_a_command(few_collisions: Path) -> None:
    command = [sys.executable, "-m", "lakehouse.demo.portal", str(few_collisions), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split(" at ")[1].strip()
            assert len(requests.get(address, timeout=10).json()) == 300
        finally:
            process.terminate()
    assert process.returncode is not None
