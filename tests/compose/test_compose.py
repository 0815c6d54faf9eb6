"""docker-compose.yml brings up a lakehouse in which a file that lands is answered for, with no engine to run it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import boto3
import duckdb
import pytest
import requests

from tests.compose.compose_file import VARIABLES, declared
from tests.compose.running_stack import Stack, running_stack
from tests.running_services import until

POINTER = "lake/published/prod/current.json"
DAY = "2010-01-05"
SQL = f"SELECT purchases, total_revenue::DOUBLE AS revenue FROM marts.daily_revenue WHERE event_date = '{DAY}'"


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """Twelve purchases of 1.50 on one day."""
    file = tmp_path / "ecommerce_events_a.parquet"
    duckdb.sql(
        f"""
        COPY (
            SELECT i::BIGINT AS event_id, i % 7 AS user_id, 'purchase' AS event_type,
                TIMESTAMP '{DAY}' + INTERVAL (i) HOUR AS event_timestamp, 1.5::DECIMAL(12, 2) AS revenue,
                'L' || i AS invoice, '1' AS sku, 'EIRE' AS country
            FROM range(12) t (i)
        ) TO '{file}' (FORMAT parquet)
        """
    )
    return file


@pytest.mark.proof
def test_a_file_that_lands_is_released_by_the_services_of_the_file(events: Path) -> None:
    with running_stack(VARIABLES) as stack:
        started = [line.removeprefix("started ") for line in stack.told if line.startswith("started ")]
        assert set(started) == {name for name, service in stack.services.items() if not service.runs_once}
        assert stack.left_running() != []
        assert set(_assets(stack)) >= {"raw/ecommerce__events", "marts/daily_revenue", "published/daily_revenue"}

        done = stack.run("setup", ["lakehouse", "upload", str(events), "--dataset", "ecommerce"])
        assert done.returncode == 0, done.stdout + done.stderr
        until(lambda: _pointer(stack), 300, lambda: f"no release: {stack.log('daemon')}")
        answer = until(lambda: _answer(stack), 240, lambda: f"{_answer(stack)}: {stack.log('daemon')}")
        assert answer == [{"purchases": 12, "revenue": 18.0}]

        asked = {"sql": SQL}
        assert requests.post(f"{stack.url('8010')}/query", json=asked, timeout=60).status_code == 401
        token = {"Authorization": f"Bearer {_new_token(stack)}"}
        reply = requests.post(f"{stack.url('8010')}/query", json=asked, headers=token, timeout=60).json()
        assert reply["rows"] == [[12, 18.0]]
        assert requests.get(f"{stack.url('8501')}/_stcore/health", timeout=10).text == "ok"

        without_key = requests.get(f"{stack.url('8333')}/lakehouse/{POINTER}", timeout=10)
        assert without_key.status_code == 403
        temporary = tuple(path.partition(":")[0] for path in declared("daemon")["tmpfs"])
        assert [path for path in stack.written_into_the_image() if not path.startswith(temporary)] == []
    assert stack.left_running() == []


def _new_token(stack: Stack) -> str:
    code = (
        "from lakehouse.query.engine.tokens import create; from lakehouse.settings import load_settings; "
        "from lakehouse.storage import open_storage; "
        "print(create(open_storage(load_settings()), 'dashboard', ['prod'], by='tests'))"
    )
    done = stack.run("setup", ["python", "-c", code])
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def _assets(stack: Stack) -> list[str]:
    query = "{assetNodes {assetKey {path}}}"
    reply = requests.post(f"{stack.url('3000')}/graphql", json={"query": query}, timeout=60).json()
    return ["/".join(node["assetKey"]["path"]) for node in reply["data"]["assetNodes"]]


def _pointer(stack: Stack) -> dict[str, Any]:
    secret = (stack.folder / "secrets" / "query_s3_key").read_text()
    client = boto3.client(
        "s3",
        endpoint_url=stack.url("8333"),
        region_name="us-east-1",
        aws_access_key_id="query",
        aws_secret_access_key=secret,
    )
    if not client.list_objects_v2(Bucket="lakehouse", Prefix=POINTER).get("Contents"):
        return {}
    found: dict[str, Any] = json.loads(client.get_object(Bucket="lakehouse", Key=POINTER)["Body"].read())
    return found


def _answer(stack: Stack) -> list[dict[str, float]]:
    """Empty as long as the day is not in a release."""
    done = stack.run("webserver", ["lakehouse", "query", "--format", "json", SQL])
    assert done.returncode == 0, done.stdout + done.stderr
    rows: list[dict[str, float]] = json.loads(done.stdout)
    return rows
