"""A share shows some tables, of these some rows and columns, and nothing tells of the rest, however it is asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
from typer.testing import CliRunner

from lakehouse import settings as settings_module
from lakehouse.cli.main import app
from lakehouse.query.engine.guard import check
from lakehouse.query.engine.parsing import Parser
from lakehouse.query.engine.plans import check_plan
from lakehouse.query.engine.problems import QueryError
from lakehouse.query.engine.sessions import OpenRelease
from lakehouse.query.engine.sights import Sight, check_sights, narrowed
from lakehouse.releases.manifest import Manifest, PublishedFile, PublishedTable
from tests import calls
from tests.lakehouse.releases.conftest import Publisher, served
from tests.query.conftest import Service, serving
from tests.query.release_files import open_release
from tests.query.test_mcp import Client, answered, over_http, told

PEOPLE = """SELECT CASE WHEN i % 4 = 1 THEN 'SO' ELSE 'KE' END AS country, i,
    CASE WHEN i % 4 = 1 THEN 'shown' ELSE 'secret' END || i AS name, 'secret' || i AS salary, i % 3 AS part
    FROM range(400) t(i)"""
SEEN = f"SELECT country, i, name, part FROM ({PEOPLE}) WHERE country = 'SO'"
VIEW = (["country", "i", "name", "part"], "country = 'SO'")
TABLE = "marts.people"


class Asker:
    """Asks as a worker does, with a share's token."""

    def __init__(self, release: OpenRelease):
        self.release = release
        self.parser = Parser()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        statement = check(self.parser, sql, [TABLE])
        session = self.release.session(statement)
        check_plan(session, statement.sql, None, asks_catalog=statement.asks_catalog, tables=[TABLE])
        return session.execute(statement.sql).fetchall()


@pytest.fixture(scope="module")
def asker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    releases, call = open_release(
        tmp_path_factory.mktemp("share"), f"CREATE TABLE frozen.marts.people AS {PEOPLE}",
        "COMMENT ON COLUMN frozen.marts.people.salary IS 'secret'", "COMMENT ON TABLE frozen.marts.days IS 'secret'",
    )  # fmt: skip
    call = replace(call, views={TABLE: VIEW}, served=[TABLE], keys={TABLE: ["i"]})
    yield Asker(releases.open(call)[0])
    releases.close(call)


ERRORS = [
    "error(name) IS NULL", "error(i::VARCHAR) IS NULL", "name[1:5] = 'shown' OR name::INTEGER = 1",
    "CASE WHEN country <> 'SO' THEN error(name) IS NULL ELSE i > 0 END", "(1000000 / (i % 4 - 1 + 1))::TINYINT = 1",
    "CASE WHEN name LIKE 'secret%' THEN name::DATE IS NULL ELSE true END",
    "sqrt(CASE country WHEN 'KE' THEN -1 END) > 0",
    "list_reduce([1], (x, y) -> x) > 0 AND CASE WHEN i % 4 <> 1 THEN error(name) IS NULL ELSE true END",
]  # fmt: skip


@pytest.mark.parametrize("condition", ERRORS)
@pytest.mark.parametrize("frame", [
    "SELECT count(*) FROM marts.people WHERE {0}", "SELECT i FROM marts.people WHERE {0} ORDER BY i LIMIT 3",
    "WITH p AS MATERIALIZED (FROM marts.people) SELECT count(*) FROM p WHERE {0}",
    "SELECT count(*) FILTER ({0}) FROM marts.people",
    "SELECT count(*) FROM (SELECT * FROM marts.people JOIN range(400) r(n) ON i = n) WHERE {0}",
    "SELECT part, count(*) FROM marts.people GROUP BY part HAVING bool_or({0}) ORDER BY part",
])  # fmt: skip
def test_a_condition_is_never_tried_on_rows_that_are_not_shown(asker: Asker, condition: str, frame: str) -> None:
    """What it says, and whether it fails, is the same as where those rows are not."""
    sql = frame.format(condition)
    with closing(duckdb.connect()) as alone:
        alone.execute(f"CREATE SCHEMA marts; CREATE TABLE marts.people AS {SEEN}")
        try:
            expected: Any = alone.execute(sql).fetchall()
        except duckdb.Error:
            expected = None
    try:
        found: Any = asker.rows(sql)
    except duckdb.Error as error:
        found = "told" if "secret" in str(error) else None
    assert found == expected


def test_a_condition_does_not_reach_the_scan(asker: Asker) -> None:
    """DuckDB 1.5 tries what may fail after what can't; we don't build on that."""
    statement = check(asker.parser, "SELECT count(*) FROM marts.people WHERE name = 'secret4' AND i < 9", [TABLE])
    ((_, plan),) = asker.release.session(statement).execute(f"EXPLAIN (FORMAT json) {statement.sql}").fetchall()
    node = json.loads(plan)[0]
    while node["children"]:
        (node,) = node["children"]
    assert node["name"].strip() == "DUCKLAKE_SCAN" and node["extra_info"]["Filters"] == "TRY((country = 'SO'))"


@pytest.mark.parametrize("sql", [
    "FROM marts.people", "SELECT * FROM marts.people ORDER BY i LIMIT 5", "SUMMARIZE marts.people",
    "DESCRIBE marts.people", "SELECT COLUMNS(*)::VARCHAR FROM marts.people", "SELECT people FROM marts.people",
    "SELECT min(name), max(name), count(*), count(DISTINCT country) FROM marts.people",
    "SELECT a.name FROM marts.people a SEMI JOIN marts.people b ON a.i = b.i + 4", "SHOW TABLES", "SHOW ALL TABLES",
    "SELECT a.i FROM marts.people a, LATERAL (SELECT name FROM marts.people b WHERE b.i = a.i)",
    "SELECT * FROM information_schema.columns", "SELECT * FROM duckdb_tables()", "SELECT * FROM duckdb_columns()",
    "SELECT * FROM duckdb_views()", "SELECT * FROM duckdb_constraints()", "SELECT * FROM pg_catalog.pg_description",
    "FROM pgc.pg_class", "FROM pgc.pg_attribute", "FROM pgc.pg_description", "FROM pgc.pg_stat_user_tables",
    "PIVOT marts.people ON country IN ('SO', 'KE') USING count(*)", "SELECT histogram(country) FROM marts.people",
    "SELECT * FROM marts.people ANTI JOIN (SELECT i FROM marts.people WHERE country = 'KE') USING (i)",
    "SELECT salary FROM marts.people", "SELECT people.salary FROM marts.people", 'SELECT "SALARY" FROM marts.people',
    "SELECT COLUMNS('salary') FROM marts.people", "SELECT * EXCLUDE (salary) FROM marts.people",
    "SELECT * REPLACE (salary AS name) FROM marts.people", "SELECT i FROM marts.people ORDER BY salary",
    "SELECT i FROM marts.people WHERE EXISTS (SELECT salary)",
    "SELECT a.* FROM marts.people a JOIN marts.people b USING (salary)",
    "FROM marts.days", "FROM marts.own", "FROM lakehouse.marts.days", "FROM __release.marts.people",
    "FROM __release.marts.days", "FROM people", "FROM main.people", "SELECT filename FROM marts.people",
    "SELECT rowid FROM marts.people", "FROM marts.people AT (VERSION => 1)", "FROM marts.people TABLESAMPLE 100%",
    "FROM ducklake_table_info('__release')", "FROM __ducklake_metadata___release.ducklake_table",
    "FROM pragma_table_info('x')",
    "EXPLAIN SELECT 1 FROM marts.people", "SELECT getvariable('x')", "SELECT current_setting('threads')",
    "WITH days AS (FROM marts.days) FROM days",
    "WITH RECURSIVE p AS (FROM marts.people UNION ALL FROM __release.marts.people) FROM p",
])  # fmt: skip
def test_nothing_tells_of_what_is_not_shared(asker: Asker, sql: str) -> None:
    """Neither an answer nor an error; and the sharp ones are refused before they run."""
    try:
        found = asker.rows(sql)
    except (QueryError, duckdb.Error) as error:
        text = str(error).replace("salary", "") if "salary" in sql.lower() else str(error)
    else:
        assert "salary" not in sql.lower() or not found or "exclude" in sql.lower()
        text = str(found)
    for word in ("secret", "salary", "KE'", "marts.days", "days'", "own'", "__release_", "try("):
        assert word not in text.replace(sql, "") or (word == "marts.days" and "There is no table" in text), text


def test_what_is_shared_is_all_there(asker: Asker) -> None:
    assert asker.rows("SELECT count(*), min(i), max(i) FROM marts.people") == [(100, 1, 397)]
    names = "SELECT column_name FROM information_schema.columns WHERE table_name = 'people' ORDER BY ordinal_position"
    assert [name for (name,) in asker.rows(names)] == VIEW[0]
    assert asker.rows("SELECT table_schema, table_name FROM information_schema.tables") == [("marts", "people")]
    assert asker.rows("SELECT name FROM marts.people WHERE i = 5 -- as ever") == [("shown5",)]


def test_a_filter_that_fails_on_a_row_hides_it_and_says_nothing(tmp_path: Path) -> None:
    releases, call = open_release(tmp_path, f"CREATE TABLE frozen.marts.people AS {PEOPLE}")
    for where, count in (("replace(name, 'secret', '')::INTEGER >= 0", 300), ("name::INTEGER = 1", 0)):
        viewing = replace(call, views={TABLE: (["i"], where)}, served=[TABLE])
        assert Asker(releases.open(viewing)[0]).rows("SELECT count(*) FROM marts.people") == [(count,)]
    for view in ((["i"], "no_such = 'x'"), (["i", "gone"], ""), (["i"], "error(name) IS NULL"), (["i"], "1), (2")):
        with pytest.raises(QueryError, match="can't be shown to this token") as refused:
            Asker(releases.open(replace(call, views={TABLE: view}, served=[TABLE]))[0]).rows("FROM marts.people")
        assert "no_such" not in str(refused.value)


def manifest() -> Manifest:
    columns = (("country", "VARCHAR", ""), ("i", "BIGINT", ""), ("salary", "VARCHAR", "Euros"))
    table = PublishedTable(
        TABLE, "c", "p", columns, (PublishedFile("f", 400, 9),), "Who.", ("salary",), grain=("salary", "i"),
        checks=({"name": "not_null_salary", "audit": "not_null(salary)", "blocking": True, "result": "passed"},),
    )  # fmt: skip
    other = replace(table, name="marts.other")
    lineage = {TABLE: {"i": [["raw.people", "i"], ["marts.other", "i"]], "salary": [["marts.other", "i"]]}}
    return Manifest(
        "prod", 3, 7, "v1", "run 1", "ann", "2026-11-28T04:00:00Z", ("marts.other changed", f"{TABLE} changed"),
        (table, other), held=({"tables": ["marts.other"], "reasons": ["x"], "since": ""},), lineage=lineage,
        pages={"people": "SELECT salary FROM marts.people"},
    )  # fmt: skip


def test_a_manifest_is_cut_down_to_what_is_seen() -> None:
    seen = narrowed(manifest(), {TABLE: Sight("country = 'SO'", ("SALARY",))})
    (table,) = seen.tables
    assert [name for name, *_ in table.columns] == ["country", "i"]
    assert (table.rows, table.grain, table.partitioned_by, table.checks, table.content) == (0, (), (), (), "")
    assert (seen.author, seen.run, seen.held, seen.lineage, seen.changed) == ("", "", (), {}, (f"{TABLE} changed",))
    assert seen.pages == {}
    both = narrowed(manifest(), {TABLE: Sight(), "marts.other": Sight()})
    assert both.lineage == {TABLE: {"i": [["marts.other", "i"]], "salary": [["marts.other", "i"]]}}


@pytest.mark.parametrize(("name", "sight", "words"), [
    ("marts.x", Sight(), "There is no table marts.x. There are marts.other, marts.people"),
    (TABLE, Sight(hidden=("x",)), "has no column x that could be hidden"),
    (TABLE, Sight(hidden=("country", "I", "salary")), "No column of marts.people would be left"),
    (TABLE, Sight("contry = 'SO'"), "The filter of marts.people can't be used: Referenced column"),
    (TABLE, Sight("country = "), "can't be used"), (TABLE, Sight("country = 'SO') OR (true"), "can't be used"),
    (TABLE, Sight("true FROM marts.other"), "can't be used"), (TABLE, Sight("true, false"), "One expression is wanted"),
    (TABLE, Sight("i IN (SELECT 1)"), "can't be used"),
    (TABLE, Sight("country = read_text('/etc/passwd')"), "can't be"),
    (TABLE, Sight("random() < 0.5"), "It must say the same whenever it is asked"),
    (TABLE, Sight("i IN (FROM marts.other)"), "There is no table marts.other"),
])  # fmt: skip
def test_what_can_t_be_shared_is_told_at_once(name: str, sight: Sight, words: str) -> None:
    with pytest.raises(QueryError) as refused:
        check_sights(manifest(), {name: sight})
    assert words in refused.value.detail
    check_sights(manifest(), {TABLE: Sight("country = 'SO' -- only these", ("salary",))})


@pytest.fixture(scope="module")
def shared(publisher: Publisher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Publisher]]:
    """A service that asks for tokens, over a release with people."""
    publisher.execute(f"CREATE TABLE marts.people AS {PEOPLE}")
    publisher.publish(
        served("marts.days", "1", partitioned_by=("day",), description="secret"),
        served("marts.people", "1", description="Who."),
        told={"marts.people": {"grain": ("i",), "owner": "analytics"}},
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("shared")
    with serving(publisher.lake.settings, folder, LAKEHOUSE_QUERY_TOKEN_REQUIRED="true") as service:
        yield service, publisher


def command(publisher: Publisher, monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    monkeypatch.setenv("LAKEHOUSE_DATA_DIR", str(publisher.lake.settings.data_dir))
    monkeypatch.setenv("COLUMNS", "250")
    settings_module.load_settings.cache_clear()
    done = CliRunner().invoke(app, list(words))
    settings_module.load_settings.cache_clear()
    return done.exit_code, done.stdout.strip(), done.stderr


def test_a_share_is_the_same_by_every_way_and_is_counted(
    shared: tuple[Service, Publisher], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, publisher = shared
    code, token, said = command(
        publisher, monkeypatch, "share", "marts.people", "--to", "partner", "--until", "2099-12-31",
        "--where", "country = 'SO'", "--hide", "salary",
    )  # fmt: skip
    assert code == 0 and "marts.people where country = 'SO' without salary of prod until 2099-12-31" in said
    _, own, _ = command(publisher, monkeypatch, "token", "create", "all-of-it")
    bearer = {"authorization": f"Bearer {token}"}
    everything = "SELECT * FROM marts.people ORDER BY i"

    # Who sees all asks first: no kept answer goes to who does not, nor does its ETag match.
    whole = service.ask(everything, token=own)
    assert whole.json()["row_count"] == 400
    mine = service.ask(everything, token=token)
    answer = mine.json()
    assert answer["row_count"] == 100 and [one["name"] for one in answer["columns"]] == VIEW[0]
    assert service.ask(everything, token=own).json()["row_count"] == 400
    with_tag = {**bearer, "if-none-match": whole.headers["etag"], "content-type": "application/json"}
    again = calls.post(f"{service.url}/query", json={"sql": everything}, headers=with_tag)
    assert again.status_code == 200 and again.json()["row_count"] == 100
    long = "SELECT name, repeat('x', 60) FROM marts.people, range(1000)"  # more than is held back
    assert service.ask(long, token=token, limit=200_000).json()["row_count"] == 100_000
    texts = [mine.text, json.dumps(dict(mine.headers))]
    texts += [calls.get(f"{service.url}/{page}", headers=bearer).text for page in ("tables", "releases", "metrics")]
    (listed,) = json.loads(texts[2])["tables"]
    assert (listed["name"], listed["rows"], listed["grain"]) == ("marts.people", None, ["i"])
    assert json.loads(texts[3])["releases"][0]["author"] == ""
    for sql in ("FROM marts.days", "SELECT salary FROM marts.people", "EXPLAIN FROM marts.people"):
        reply = service.ask(sql, token=token)
        assert reply.status_code == 400
        texts.append(reply.text.replace("salary", "", 1))

    address = f"host=127.0.0.1 port={service.postgres_port} user=prod dbname=lakehouse password={token}"
    with psycopg.connect(address, autocommit=True) as connection:
        assert len(connection.execute(everything).fetchall()) == 100
        tables = connection.execute("SELECT relname FROM pg_catalog.pg_class WHERE relkind = 'r'").fetchall()
        assert tables == [("people",)]
        with pytest.raises(psycopg.Error):
            connection.execute("SELECT salary FROM marts.people")

    async def ask(client: Client) -> None:
        texts.extend([(await answered(client, tool))[0] for tool in ("search_tables", "releases", "why_waiting")])
        texts.append((await answered(client, "describe_table", table="marts.people"))[0])
        assert (await told(client, "sample_table", table="marts.people", rows=100))["row_count"] == 100
        text, is_error = await answered(client, "query", sql="FROM marts.days")
        assert is_error and "There is no table marts.days" in text

    over_http(service.url, ask, token)
    for text in texts:
        assert "secret" not in text and "salary" not in text and "tester" not in text, text

    code, listing, _ = command(publisher, monkeypatch, "shares")
    assert code == 0 and "partner" in listing and "6 answers, 100,401 rows" in listing and "all-of-it" not in listing
    code, listing, _ = command(publisher, monkeypatch, "shares", "partner")
    assert all(way in listing for way in ("http", "postgres", "mcp", "prod@2", everything))
    command(publisher, monkeypatch, "token", "revoke", "partner")
    while service.ask("SELECT 1", token=token).status_code != 401:
        pass


@pytest.mark.parametrize(("words", "said"), [
    (["marts.people", "--until", "2020-01-01"], "is over already"), (["marts.people", "--until", "soon"], "is no day"),
    (["marts.x", "--until", "2099-01-01"], "There is no table marts.x"),
    (["marts.people", "--until", "2099-01-01", "--where", "marts.days: i = 1"], "marts.days, which is not shared"),
    (["marts.people", "--until", "2099-01-01", "--hide", "x"], "no shared table has such a column"),
    (["marts.people", "--until", "2099-01-01", "--where", "x = 1"], "The filter of marts.people can't be used"),
])  # fmt: skip
def test_a_share_that_can_t_be_made_is_refused_in_a_sentence(
    shared: tuple[Service, Publisher], monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    code, _, error = command(shared[1], monkeypatch, "share", *words, "--to", "nobody")
    assert code == 2 and said in error
