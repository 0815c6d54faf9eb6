"""The Lambda function: every shape of event, one envelope, and an image that holds what it needs."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakehouse.query.http import aws_lambda
from lakehouse.query.http.aws_lambda import handler
from lakehouse.settings import PROJECT_ROOT, Settings

DOCKERFILE = (PROJECT_ROOT / "lambda.Dockerfile").read_text()
LOCK = (PROJECT_ROOT / "requirements-lambda.lock").read_text()
COUNT = "SELECT count(*) AS n FROM marts.trips"
V2 = {"version": "2.0", "rawPath": "/", "requestContext": {"http": {"method": "POST"}}, "isBase64Encoded": False}


@pytest.fixture(autouse=True)
def container(command_environment: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has not counted a call. Its worker, once made, stays for the next test."""
    monkeypatch.setattr(aws_lambda, "_calls", 0)


@pytest.fixture
def new_container() -> Iterator[None]:
    """One that has nothing yet, for settings of a test's own."""
    end()
    yield
    end()


@pytest.fixture(scope="module", autouse=True)
def _end() -> Iterator[None]:
    yield
    end()


def end() -> None:
    if aws_lambda._service.cache_info().currsize:
        aws_lambda._service().close()
    aws_lambda._service.cache_clear()
    aws_lambda._tokens.cache_clear()


def test_the_envelope_is_the_references_and_says_the_release() -> None:
    first = handler({"q": COUNT})
    assert first["data"] == {"records": [{"n": 1001}]}
    metadata = first["metadata"]
    assert set(metadata) == {
        "timeMs", "epochMs", "eventId", "query", "warm", "release", "environment", "cut"
    }  # fmt: skip
    assert (metadata["query"], metadata["warm"], metadata["release"], metadata["cut"]) == (COUNT, False, 2, None)
    assert metadata["timeMs"] > 0
    assert handler({"q": COUNT})["metadata"]["warm"] is True
    assert handler({"q": COUNT, "release": 1})["data"] == {"records": [{"n": 1000}]}


def test_twenty_rows_unless_more_are_asked_for() -> None:
    sql = "SELECT id FROM marts.trips ORDER BY id"
    short = handler({"q": sql})
    assert ([row["id"] for row in short["data"]["records"]], short["metadata"]["cut"]) == (list(range(20)), "rows")
    assert len(handler({"q": sql, "limit": 50})["data"]["records"]) == 50


def test_dates_decimals_zero_rows_and_repeated_names_are_json() -> None:
    sql = "SELECT d, fare, fare, lasted FROM marts.trips WHERE id = 1000"
    answer = json.loads(json.dumps(handler({"q": sql})))
    assert answer["data"]["records"] == [{"d": "2024-01-10", "fare": "0.50", "fare_1": "0.50", "lasted": "1 month"}]
    assert handler({"q": "SELECT d FROM marts.trips WHERE false"})["data"] == {"records": []}


def _post(body: str, **more: Any) -> dict[str, Any]:
    return {**V2, "body": body, **more}


@pytest.mark.parametrize(
    "event",
    [
        _post(json.dumps({"q": COUNT, "limit": 5})),
        _post(base64.b64encode(json.dumps({"q": COUNT}).encode()).decode(), isBase64Encoded=True),
        {**V2, "requestContext": {"http": {"method": "GET"}}, "queryStringParameters": {"q": COUNT, "limit": "5"}},
        {"httpMethod": "POST", "requestContext": {}, "body": json.dumps({"q": COUNT}), "isBase64Encoded": False},
        {
            "httpMethod": "GET",
            "requestContext": {},
            "queryStringParameters": {"q": COUNT, "release": "2"},
            "body": None,
        },
    ],
    ids=["v2", "v2 base64", "v2 GET", "v1", "v1 GET"],
)
def test_every_kind_of_http_event_is_answered(event: dict[str, Any]) -> None:
    reply = handler(event)
    assert (reply["statusCode"], reply["headers"]["content-type"]) == (200, "application/json")
    assert json.loads(reply["body"])["data"] == {"records": [{"n": 1001}]}


@pytest.mark.parametrize(
    "event",
    [
        None, [], "SELECT 1", {}, {"q": None}, {"q": ""}, {"q": 7},
        {"q": COUNT, "limit": 0}, {"q": COUNT, "limit": "x"}, {"q": COUNT, "sql": COUNT}, {"q": COUNT, "nothing": 1},
        _post("{"), _post(""), _post("[]"), _post("not base64!", isBase64Encoded=True), {**V2},
        {**V2, "requestContext": None}, {**V2, "requestContext": "x"}, {**V2, "requestContext": {"http": None}},
        {**V2, "requestContext": {"http": "x"}}, {**V2, "requestContext": {"http": {"method": 7}}},
        _post({"q": COUNT}), _post([COUNT]), _post(json.dumps({"q": COUNT}), isBase64Encoded="false"),
        _post(json.dumps({"q": COUNT}), headers="x"), _post(json.dumps({"q": COUNT}), headers={"Authorization": [1]}),
        {"httpMethod": "GET", "requestContext": {}, "queryStringParameters": f"q={COUNT}"},
        {"httpMethod": "GET", "requestContext": {}, "queryStringParameters": None},
        {"httpMethod": "GET", "requestContext": {}, "queryStringParameters": {"q": COUNT, "limit": "-1"}},
    ],
)  # fmt: skip
def test_a_bad_event_is_the_callers_mistake(event: Any) -> None:
    reply = handler(event)
    if "statusCode" in reply:
        assert reply["statusCode"] == 400
        reply = json.loads(reply["body"])
    assert reply["error"]["type"] == "urn:lakehouse:invalid-request"
    assert reply["error"]["detail"]
    assert "data" not in reply


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS", "post", ""])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "requestContext": st.fixed_dictionaries({"http": st.fixed_dictionaries({"method": METHODS}) | JSON}) | JSON,
            "httpMethod": METHODS | JSON,
            "headers": st.dictionaries(st.just("Authorization"), JSON) | JSON,
            "queryStringParameters": st.dictionaries(st.sampled_from(["q", "limit", "release", "x"]), JSON) | JSON,
            "body": JSON | JSON.map(json.dumps) | st.just(json.dumps({"q": "SELECT (", "limit": 1})),
            "isBase64Encoded": st.booleans() | JSON,
            "q": JSON | st.just("SELECT ("),
            "limit": JSON,
            "release": JSON,
            "parameters": JSON,
        },
    )
    | JSON
)
def test_no_event_is_a_failure_of_ours(token: str, event: Any) -> None:
    reply = handler(event)
    json.dumps(reply)
    if "statusCode" in reply:
        assert 200 <= reply["statusCode"] < 500, reply
        reply = json.loads(reply["body"])
    assert ("data" in reply) != ("error" in reply)
    assert reply.get("error", {}).get("type", "").startswith("urn:") or "data" in reply


@pytest.mark.parametrize("method", ["DELETE", "TRACE", "PUT", "PATCH", "OPTIONS", "CONNECT", "SELECT"])
def test_other_methods_are_not_answered(method: str) -> None:
    for event in (
        _post(json.dumps({"q": COUNT}), requestContext={"http": {"method": method}}),
        {"httpMethod": method, "requestContext": {}, "body": json.dumps({"q": COUNT})},
    ):
        reply = handler(event)
        assert (reply["statusCode"], reply["headers"]["allow"]) == (405, "GET, HEAD, POST")


def test_a_hundred_calls_at_once_are_all_answered(new_container: None) -> None:
    with ThreadPoolExecutor(100) as threads:
        replies = list(threads.map(lambda number: handler({"q": f"SELECT {number} AS n"}), range(100)))
    assert [reply.get("data", reply) for reply in replies] == [{"records": [{"n": number}]} for number in range(100)]
    assert aws_lambda._service().pool.restarts == 0


@pytest.mark.slow
def test_what_lambda_leaves_of_its_time_is_all_that_is_used() -> None:
    handler({"q": COUNT})
    busy = "SELECT count(*) AS n FROM range(100000) a, range(100000) b WHERE a.range + b.range = 7"
    for left in (0, 200, 1_500):
        context = SimpleNamespace(get_remaining_time_in_millis=lambda left=left: left)
        assert handler({"q": f"{busy} -- {left}"}, context)["error"]["type"] in (
            "urn:lakehouse:time-limit", "urn:lakehouse:too-many-calls"
        )  # fmt: skip
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 60_000)
    assert handler({"q": COUNT}, context)["data"] == {"records": [{"n": 1001}]}


def test_a_refused_statement_says_why_and_where() -> None:
    error = handler({"q": "SELECT\n  read_text('/etc/passwd')"})["error"]
    assert set(error) == {"type", "title", "detail", "line", "column"}
    assert (error["type"], error["line"], error["column"]) == ("urn:lakehouse:refused", 2, 3)
    reply = handler(_post(json.dumps({"q": "DROP TABLE marts.trips"})))
    assert reply["statusCode"] == 400
    reply = handler(_post(json.dumps({"q": "SELECT 1", "release": 99})))
    assert reply["statusCode"] == 404


def test_an_answer_stays_within_what_lambda_can_give() -> None:
    sql = "SELECT repeat('\"', 1000) AS quotes FROM range(20000)"
    reply = handler(_post(json.dumps({"q": sql, "limit": 20_000})))
    assert reply["statusCode"] == 200
    assert len(json.dumps(reply)) < 6_000_000
    assert json.loads(reply["body"])["metadata"]["cut"] == "bytes"


def test_a_failure_of_ours_is_a_500_that_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("password hunter2")

    monkeypatch.setattr(aws_lambda, "_records", fails)
    reply = handler(_post(json.dumps({"q": COUNT})))
    assert reply["statusCode"] == 500
    assert "hunter2" not in json.dumps(reply)
    assert "error" in handler({"q": COUNT})


def test_wrong_settings_are_an_envelope_too(new_container: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_STORAGE", "somewhere")
    aws_lambda.load_settings.cache_clear()
    assert handler({"q": COUNT})["error"]["type"] == "urn:lakehouse:unavailable"


def test_a_token_is_asked_for_over_http_when_the_settings_say_so(
    new_container: None, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEHOUSE_QUERY_TOKEN_REQUIRED", "true")
    aws_lambda.load_settings.cache_clear()
    body = json.dumps({"q": "SELECT id FROM marts.trips", "limit": 200})
    refused = handler(_post(body))
    assert (refused["statusCode"], "www-authenticate" in refused["headers"]) == (401, True)
    given = {"headers": {"Authorization": f"Bearer {token}"}}
    reply = handler(_post(body, **given))
    assert reply["statusCode"] == 200
    assert len(json.loads(reply["body"])["data"]["records"]) == 100  # the token's limit
    elsewhere = json.dumps({"q": "SELECT 1", "environment": "qa"})
    assert handler(_post(elsewhere, **given))["statusCode"] == 403
    assert "data" in handler({"q": COUNT})  # a direct call is AWS's business


def test_the_image_gets_what_the_handler_needs_and_nothing_else() -> None:
    copied = [source for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.M) for source in line.split()[:-1]]
    assert copied
    assert [source for source in copied if not (PROJECT_ROOT / source).exists()] == []
    allowed = re.findall(r"^!(.+)$", (PROJECT_ROOT / "lambda.Dockerfile.dockerignore").read_text(), re.M)
    assert sorted(allowed) == sorted(copied)
    assert "--require-hashes -r requirements-lambda.lock" in DOCKERFILE
    assert 'CMD ["lakehouse.query.http.aws_lambda.handler"]' in DOCKERFILE
    assert not re.search(r"(?im)^(?:ENV|ARG).*(?:password|secret|token|_key)", DOCKERFILE)


def test_the_lock_is_a_part_of_the_projects_with_hashes_and_no_addresses() -> None:
    pins = re.compile(r"^([a-z0-9-]+)(?:\[\w+\])?==(\S+)", re.M)
    ours = dict(pins.findall((PROJECT_ROOT / "requirements.lock").read_text()))
    found = dict(pins.findall(LOCK))
    assert {name: ours.get(name) for name in found} == found
    assert LOCK.count("--hash=sha256:") >= len(found)
    assert "http" not in LOCK.replace("duckdb-extension-httpfs", "")
    assert not {"dagster", "dlt", "sqlmesh", "streamlit"} & set(found)


@pytest.mark.proof
def test_the_handler_imports_only_what_the_image_holds() -> None:
    script = """
import sys, json
from importlib.metadata import packages_distributions
import lakehouse.query.http.aws_lambda, lakehouse.query.engine.worker, lakehouse.storage.s3, boto3
tops, owners = {name.partition(".")[0] for name in sys.modules}, packages_distributions()
print(json.dumps(sorted({owner.lower() for top in tops for owner in owners.get(top, ())})))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    used = set(json.loads(done.stdout))
    assert {"duckdb", "orjson", "boto3"} <= used
    # botocore does without certifi, and setuptools is there for the editable installation.
    held = set(re.findall(r"^([a-z0-9-]+)", LOCK, re.M)) | {"lakehouse", "certifi", "setuptools"}
    assert {name.replace("_", "-") for name in used} - held == set()
