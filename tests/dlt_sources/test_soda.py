"""The client copes with everything that portals do; the local portal does it."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from dlt_sources.soda.client import DatasetMissing, PortalUnavailable, RequestRefused, Retry, SodaClient
from lakehouse.demo.portal import DATASET_ID, RunningPortal
from lakehouse.demo.portal_faults import CutConnection, Fault, NeverAnswer, NotJson, Status
from tests.dlt_sources.loading import IMPATIENT

TRANSIENT = {
    "still being prepared": Status(202),
    "throttled": Status(429),
    "throttled, with a time to wait": Status(429, {"Retry-After": "0"}),
    "throttled until a date": Status(429, {"Retry-After": "Thu, 01 Jan 2015 00:00:00 GMT"}),
    "an error of the portal's": Status(500),
    "a bad gateway": Status(502, body="<html>Bad gateway</html>"),
    "overloaded": Status(503),
    "a connection cut in the middle": CutConnection(),
    "a body that is no JSON": NotJson(),
    "a body that is no list": NotJson('{"rows": []}'),
}


@pytest.fixture
def client(portal: RunningPortal) -> SodaClient:
    return SodaClient(portal.base_url, DATASET_ID, retry=IMPATIENT)


@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT.keys())
def test_what_may_pass_is_asked_again(client: SodaClient, portal: RunningPortal, fault: Fault) -> None:
    portal.faults.order(fault, fault)
    assert len(client.rows({"$limit": 5})) == 5
    assert len(portal.portal.requests) == 3


def test_a_fault_that_stays_is_given_up_and_told(client: SodaClient, portal: RunningPortal) -> None:
    portal.faults.order(*[Status(503, body='{"message": "under repair"}')] * 3)
    with pytest.raises(PortalUnavailable, match=r"3 attempts; the last time: status 503 \(under repair\)"):
        client.rows({})
    assert len(portal.portal.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 418])
def test_any_other_refusal_is_never_asked_again(client: SodaClient, portal: RunningPortal, status: int) -> None:
    portal.faults.order(Status(status))
    with pytest.raises(RequestRefused, match=f"status {status}"):
        client.rows({})
    assert len(portal.portal.requests) == 1


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({"$select": "no_such"}, "No such column: no_such"),
        ({"$where": "borough = "}, "Could not parse SoQL query"),
    ],
)
def test_the_portals_own_reason_is_in_the_message(client: SodaClient, query: dict[str, str], reason: str) -> None:
    with pytest.raises(RequestRefused, match=reason):
        client.rows(query)


def test_a_dataset_that_is_not_there_is_named(portal: RunningPortal) -> None:
    with pytest.raises(DatasetMissing, match="abcd-1234"):
        SodaClient(portal.base_url, "abcd-1234", retry=IMPATIENT).rows({})


def test_a_wrong_token_is_reported_once_and_the_request_repeated_without_it(portal: RunningPortal) -> None:
    client = SodaClient(portal.base_url, DATASET_ID, "wrong", IMPATIENT)
    assert len(client.rows({"$limit": 5})) == 5
    client.rows({"$limit": 5})
    assert len(client.warnings) == 1
    assert "refused the app token (Invalid app_token specified)" in client.warnings[0]
    assert "wrong" not in client.warnings[0]


def test_a_right_token_is_sent(portal: RunningPortal) -> None:
    client = SodaClient(portal.base_url, DATASET_ID, "local-token", IMPATIENT)
    client.rows({"$limit": 1})
    assert client.warnings == []
    assert client.app_token == "local-token"


def test_a_portal_that_never_answers_is_given_up(portal: RunningPortal) -> None:
    portal.faults.order(NeverAnswer(), NeverAnswer())
    hasty = Retry(attempts=2, first_wait_seconds=0, timeout_seconds=0.2)
    with pytest.raises(PortalUnavailable, match="no answer in time"):
        SodaClient(portal.base_url, DATASET_ID, retry=hasty).rows({})


def test_a_portal_that_is_down_is_named_with_its_address() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(PortalUnavailable, match=rf"{address}/resource/.*ConnectionError"):
            SodaClient(address, DATASET_ID, retry=IMPATIENT).rows({})


def test_waits_double_and_stay_below_the_longest() -> None:
    retry = Retry(first_wait_seconds=1, longest_wait_seconds=30)
    assert [round(retry.wait(attempt, None) / 2 ** (attempt - 1), 1) >= 0.8 for attempt in (1, 2, 3)] == [True] * 3
    assert retry.wait(1, None) <= 1.2
    assert retry.wait(20, None) == 30
    assert retry.wait(1, 7) == 7, "what the portal asks for"
    assert retry.wait(1, 3600) == 30, "but not for ever"


def test_a_retry_after_date_is_the_time_until_then(client: SodaClient, portal: RunningPortal) -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(hours=1))
    portal.faults.order(Status(429, {"Retry-After": soon}), Status(429, {"Retry-After": "next week"}))
    assert len(client.rows({"$limit": 1})) == 1


def test_the_count_is_the_portals_own(client: SodaClient) -> None:
    assert client.count() == 300
    assert client.count("collision_id > '0' AND collision_id < '0'") == 0
