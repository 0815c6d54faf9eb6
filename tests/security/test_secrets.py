"""Secrets are planted in every setting that can hold one; then everything is searched that the lakehouse leaves behind.

Each carries a word that survives any way of escaping, among characters that break any way of quoting.
"""

from __future__ import annotations

import base64
import dataclasses
import gzip
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
import requests
from pydantic import SecretStr

from lakehouse.lake.roles import Roles
from lakehouse.settings import PROJECT_ROOT, Settings
from tests.databases import create_database
from tests.lakehouse_instance import TOOLS, LakehouseInstance, create_instance
from tests.object_store import ObjectStore, serve
from tests.ports import free_ports
from tests.running_services import running_services
from tests.security import searching
from tests.security.logins import address, ask_logins_for_passwords, create_login

PG, S3, S3_READ, PORTAL, WRONG = "PLANTEDpg7f3", "PLANTEDs3a81", "PLANTEDquery5c", "PLANTEDportal2e", "PLANTEDwrong9d"
OTHER = "PLANTEDother6b"
CONTROL = "ecommerce__events"
"""No secret: it must be found in every kind of place, or the search proves nothing."""
WORDS = [PG, S3, S3_READ, PORTAL, WRONG, OTHER, CONTROL]
ODD = "p@ss:w/%41'\" \\$&é#"
PAGES = """
{ instance { info }
  repositoriesOrError { ... on RepositoryConnection { nodes {
    allTopLevelResourceDetails { name configFields { name defaultValueAsJson } configuredValues { key value } }
    jobs { name modes { resources { name configField { defaultValueAsJson } } } }
  } } }
  assetNodes { assetKey { path } metadataEntries { label ... on TextMetadataEntry { text }
      ... on JsonMetadataEntry { jsonString } ... on MarkdownMetadataEntry { mdStr } }
    assetMaterializations(limit: 5) { metadataEntries { label ... on TextMetadataEntry { text } } } }
  runsOrError { ... on Runs { results { runId runConfigYaml tags { key value } eventConnection { events {
    ... on MessageEvent { message }
    ... on ExecutionStepFailureEvent { error { message stack causes { message stack } } }
  } } } } }
}
"""


@dataclass
class Planted:
    """A lakehouse on a password-protected PostgreSQL and S3, and everything that its commands said."""

    instance: LakehouseInstance
    database_url: str
    store: ObjectStore
    said: dict[str, str]

    def run(self, name: str, *command: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end and keep what it says; `settings` are LAKEHOUSE_… variables without their prefix."""
        extra = {f"LAKEHOUSE_{key.upper()}": value for key, value in settings.items()}
        done = subprocess.run(
            [str(TOOLS / command[0]), *command[1:]], env={**self.instance.environment, **extra},
            cwd=self.instance.root, capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip
        self.said[name] = done.stdout + done.stderr
        return done


@pytest.fixture(scope="module")
def planted(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    """One that was bootstrapped by its administrator and has then been used by a writer's login alone."""
    ask_logins_for_passwords(server_url)
    url = create_database(server_url, "planted")
    database = urlsplit(url).path.strip("/")
    identities = [
        {"name": name, "credentials": [{"accessKey": name, "secretKey": f"{word}+/="}], "actions": ["Admin"]}
        for name, word in (("planted", S3), ("planted-query", S3_READ))
    ]
    with serve(*identities) as store:
        bucket = store.new_bucket()
        instance = create_instance(tmp_path_factory.mktemp("planted"))
        (portal,) = free_ports(1)
        extra = {
            **store.environment(bucket),
            "LAKEHOUSE_S3_ACCESS_KEY_ID": "planted",
            "LAKEHOUSE_S3_SECRET_ACCESS_KEY": f"{S3}+/=",
            "LAKEHOUSE_QUERY_S3_ACCESS_KEY_ID": "planted-query",
            "LAKEHOUSE_QUERY_S3_SECRET_ACCESS_KEY": f"{S3_READ}+/=",
            "LAKEHOUSE_RELEASE_DOCS": "true",
            "SOURCES__NYC_COLLISIONS__BASE_URL": f"http://127.0.0.1:{portal}",
            "SOURCES__NYC_COLLISIONS__APP_TOKEN": PORTAL,
            "PYTHONPATH": str(PROJECT_ROOT),
        }
        for name, field in Settings.model_fields.items():  # every other secret that there is, or will be
            if field.annotation is SecretStr:
                extra.setdefault(f"LAKEHOUSE_{name.upper()}", f"http://127.0.0.1:9/{OTHER}")
        administrator = dataclasses.replace(instance, extra={**extra, "LAKEHOUSE_POSTGRES_URL": url})
        made = Planted(administrator, url, store, {})
        done = made.run("bootstrap", "lakehouse", "bootstrap")
        assert done.returncode == 0, done.stdout + done.stderr
        roles, login = Roles.of(database), create_login(server_url, f"login_{database}", password=f"{PG}{ODD}")
        with closing(psycopg.connect(url, autocommit=True)) as connection:
            for statement in roles.login(roles.writer, login)[1:]:
                connection.execute(statement)  # type: ignore[arg-type]
        extra["LAKEHOUSE_POSTGRES_URL"] = address(url, login, f"{PG}{ODD}")
        made.instance = dataclasses.replace(instance, extra=extra)
        yield made


@pytest.mark.parametrize(
    "content",
    [
        b"before planted after",
        base64.b64encode(b"x" * 40 + b"PLANTED" + b"x" * 40),
        base64.b64encode(zlib.compress(b"x" * 9 + b"PLANTED" + bytes(range(99)))),
        gzip.compress(b"PLANTED"),
    ],
    ids=["another case", "base64", "base64 of zlib", "gzip"],
)
def test_the_search_finds_what_is_packed(content: bytes) -> None:
    assert searching.found_in("a file", content, ["PLANTED"]) == ["PLANTED in a file"]


@pytest.mark.proof
def test_no_secret_is_found_in_anything_that_the_lakehouse_leaves_behind(planted: Planted) -> None:
    flow = planted.run("flow", "python", "-m", "tests.security.flow")
    steps = [line for line in flow.stdout.splitlines() if line.startswith("STEP ")]
    assert steps == [
        "STEP load: done", "STEP models: done", "STEP publish: done", "STEP portal refuses: failed",
        "STEP model fails: failed",
    ], flow.stdout[-3000:] + flow.stderr[-3000:]  # fmt: skip
    _fail_in_every_way(planted)
    pages, arguments = _serve_and_look(planted)
    found = [line for name, text in planted.said.items() for line in searching.found_in(name, text.encode(), WORDS)]
    for name, page in pages.items():
        assert len(page) > 20, f"{name} answered nothing: it proves nothing"
        found += searching.found_in(name, page.encode(), WORDS)
    found += searching.found_in("ps", "\n".join(arguments).encode(), WORDS)
    found += searching.in_folder(planted.instance.root, WORDS)
    found += searching.in_database(planted.database_url, WORDS)
    bucket = planted.instance.extra["LAKEHOUSE_STORAGE"].split("/")[2]
    found += searching.in_bucket(planted.store.client(), bucket, WORDS)
    listed = planted.store.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
    assert any(one["Key"].endswith("docs/00001/index.html") for page in listed for one in page.get("Contents", []))
    control = {line.removeprefix(f"{CONTROL} in ") for line in found if line.startswith(CONTROL)}
    for place in ("flow", "graphql", "lakehouse.", "sqlmesh.", "dagster.event_logs", "s3://", "/"):
        assert any(where.startswith(place) for where in control), f"{place} was not searched: {sorted(control)}"
    assert [line for line in found if not line.startswith(CONTROL)] == []


def _fail_in_every_way(planted: Planted) -> None:
    """PostgreSQL away or refusing, the store refusing: the commands, and a run that Dagster records."""
    away = f"postgresql://login:{PG}@127.0.0.1:1/lake"
    wrong = planted.instance.extra["LAKEHOUSE_POSTGRES_URL"].replace(PG, WRONG)
    for name, url in (("away", away), ("refused", wrong)):
        for command in (("status",), ("query", "--head", "SELECT 1"), ("up",)):
            assert planted.run(f"{name} {command[0]}", "lakehouse", *command, postgres_url=url).returncode == 1
        done = planted.run(f"{name} dagster", "dagster", "run", "list", postgres_url=url)
        assert done.returncode != 0
    key = f"{WRONG}+/="
    assert planted.run("key upload", "lakehouse", "files", s3_secret_access_key=key).returncode == 1
    assert planted.run("key query", "lakehouse", "query", "SELECT 1", query_s3_secret_access_key=key).returncode == 1
    done = planted.run(
        "key run", "dagster", "asset", "materialize", "--select", "raw/ecommerce__events", "-m",
        "lakehouse_assets.definitions", s3_secret_access_key=key,
    )  # fmt: skip
    assert done.returncode != 0
    assert "Traceback" not in "".join(text for name, text in planted.said.items() if "lakehouse" in name)


def _serve_and_look(planted: Planted) -> tuple[dict[str, str], list[str]]:
    """What the services show, and with which arguments the processes were started."""
    with running_services(planted.instance) as services:
        reply = requests.post(f"{services.url}/graphql", json={"query": PAGES}, timeout=60)
        assert "errors" not in reply.json(), reply.text[:3000]
        pages = {"graphql": reply.text}
        for path in ("/", "/tables", "/releases", "/metrics", "/openapi.json"):
            pages[path] = requests.get(f"{services.query_url}{path}", timeout=30).text
        for statement in (
            "SELECT 1",
            "SELECT current_setting('s3_secret_access_key')",
            "FROM duckdb_secrets()",
            "SELEC",
        ):
            reply = requests.post(f"{services.query_url}/query", json={"sql": statement}, timeout=60)
            pages[statement] = reply.text
        arguments = [" ".join(process.cmdline()) for process in _running()]
        assert any("dagster" in words for words in arguments)
        pages["up"] = services.printed
    return pages, arguments


def _running() -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            process.cmdline()
            yield process
