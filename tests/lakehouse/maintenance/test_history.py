"""What DuckLake 1.0's compaction does to the past, and that nothing of ours believes it."""

from __future__ import annotations

from contextlib import closing

import hypothesis
import pytest
from hypothesis import strategies as st

from lakehouse.lake.feed import is_whole
from lakehouse.upkeep.maintenance import compaction, files, snapshots
from lakehouse.writing.touched import changes_since
from tests.lakehouse.maintenance.conftest import Tended

NET_SQL = """
    SELECT id, text, sum(CASE WHEN change_type IN ('insert', 'update_postimage') THEN 1 ELSE -1 END) AS n
    FROM ducklake_table_changes('lakehouse', 'raw', 't', {after} + 1, {until}) GROUP BY ALL HAVING n <> 0
"""


def test_ducklake_s_feed_is_wrong_across_a_compaction_and_we_know(tended: Tended) -> None:
    """When this fails, a newer DuckLake has mended it, and `lakehouse.lake.feed` may go."""
    tended.small_increments(4)
    before = tended.execute("INSERT INTO raw.t SELECT range::INT, 'later' FROM range(100, 150)")
    tended.execute("DELETE FROM raw.t WHERE id % 3 = 0", "UPDATE raw.t SET text = 'u' WHERE id % 3 = 1")
    compaction.compact(tended.lake, {})
    after = tended.lake.newest_snapshot()
    truth = dict.fromkeys(tended.rows("FROM raw.t"), 1)
    for row in tended.rows("FROM raw.t", before):
        truth[row] = truth.get(row, 0) - 1
    with closing(tended.lake.connect(read_only=True)) as connection:
        told = connection.execute(NET_SQL.format(after=before, until=after)).fetchall()
        assert {(i, text): n for i, text, n in told} != {row: n for row, n in truth.items() if n}
        assert not is_whole(connection, "raw.t", before, after)
        assert is_whole(connection, "raw.t", after, after)


def test_a_load_across_a_compaction_by_hand_touches_everything(tended: Tended) -> None:
    before = tended.small_increments(3)
    compaction.compact(tended.lake, {})
    tended.execute("INSERT INTO raw.t SELECT range::INT, 'more' FROM range(50)")
    with closing(tended.lake.connect(read_only=True)) as connection:
        touched = changes_since(connection, "raw.t", "text", before)
    assert touched.ranges == [(None, None)]
    assert not touched.nothing


def test_expiry_forgets_the_past_but_not_which_content_is_which(tended: Tended) -> None:
    from lakehouse.releases.rule import changed_at

    tended.small_increments(3)
    last = tended.execute("DELETE FROM raw.t WHERE id = 1")
    tended.execute("CREATE TABLE raw.u (id INT)", "CREATE TABLE raw.v (id INT)")
    known = changed_at(tended.ledger)
    assert known["raw.t"] == last
    dry = snapshots.expire(tended.forgetful, dry_run=True, grace_seconds=0)
    done = snapshots.expire(tended.forgetful, grace_seconds=0)
    assert dry.figures["snapshots_after"] == done.figures["snapshots_after"]
    assert changed_at(tended.ledger) == known
    assert tended.lake.has_snapshot(last)
    assert not tended.lake.has_snapshot(last - 1)
    with closing(tended.lake.connect(read_only=True)) as connection:
        assert not is_whole(connection, "raw.t", last - 2, last)


def test_expiry_keeps_what_releases_and_repairs_need(tended: Tended) -> None:
    from lakehouse.releases import log
    from lakehouse.writing import marks

    cut = tended.small_increments(3)
    log.write(tended.ledger, "prod", cut - 1, [], code_version="v", run="r", author="a", changed=["c"])
    marked = tended.execute("DELETE FROM raw.t WHERE id < 10")
    marks.write(tended.ledger, "load", "source", run="r", snapshot=marked, details={"tables": {}})
    newest = tended.execute("DELETE FROM raw.t WHERE id < 20", "DELETE FROM raw.t WHERE id < 30")
    snapshots.expire(tended.forgetful, grace_seconds=0)
    kept = {s for s in range(newest + 1) if tended.lake.has_snapshot(s)}
    assert kept == {cut - 1, marked, marked + 1, marked + 2}
    assert tended.rows("SELECT count(*) FROM raw.t", cut - 1) == [(40,)]


def test_what_was_the_newest_until_a_moment_ago_may_be_about_to_be_cut(tended: Tended) -> None:
    """However old it is: a release takes the newest snapshot first, and is written a moment later."""
    newest = tended.small_increments(2)
    tended.ledger.execute("UPDATE lakehouse.ducklake_snapshot SET snapshot_time = now() - interval '30 days'")
    tended.execute("INSERT INTO raw.t VALUES (1, 'somebody else')")
    snapshots.expire(tended.lake)
    assert tended.lake.has_snapshot(newest)
    assert not tended.lake.has_snapshot(newest - 1)


def test_what_is_done_and_tended_leaves_the_rows_right_and_the_feed_since(tended: Tended) -> None:
    check_rows_and_feed(tended, ["insert", "delete", "one", "tend", "update"])


@pytest.mark.proof
@hypothesis.settings(
    max_examples=25, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(st.lists(st.sampled_from(["insert", "one", "delete", "update", "tend"]), min_size=4, max_size=14))
def test_whatever_is_done_and_tended_leaves_the_rows_right_and_the_feed_since(tended: Tended, acts: list[str]) -> None:
    check_rows_and_feed(tended, acts)


def check_rows_and_feed(tended: Tended, acts: list[str]) -> None:
    """After compaction, expiry and deletion at once the table holds what it should, and later changes are told."""
    tended.execute("DROP TABLE IF EXISTS raw.t", "CREATE TABLE raw.t (id INT, text VARCHAR)")
    rows: list[tuple[int, str]] = []
    told_since, then = tended.lake.newest_snapshot(), []
    for number, act in enumerate([*acts, "tend", "insert", "delete", "one"]):
        low = 7 * number
        if act == "insert":
            tended.execute(f"INSERT INTO raw.t SELECT range::INT, 'x' FROM range({low}, {low + 30})")
            rows += [(i, "x") for i in range(low, low + 30)]
        elif act == "one":
            tended.execute(f"INSERT INTO raw.t VALUES ({low}, 'one')")
            rows.append((low, "one"))
        elif act == "delete":
            tended.execute(f"DELETE FROM raw.t WHERE id % 5 = {number % 5}")
            rows = [(i, text) for i, text in rows if i % 5 != number % 5]
        elif act == "update":
            tended.execute(f"UPDATE raw.t SET text = text || 'u' WHERE id % 4 = {number % 4}")
            rows = [(i, text + "u" if i % 4 == number % 4 else text) for i, text in rows]
        else:
            assert not compaction.compact(tended.lake, {}).problems
            snapshots.expire(tended.forgetful, grace_seconds=0)
            files.delete_unused(tended.lake, hours=0)
            files.delete_orphans(tended.lake, hours=0)
            told_since, then = tended.lake.newest_snapshot(), list(rows)
        assert tended.rows("FROM raw.t ORDER BY ALL") == sorted(rows)
    net: dict[tuple[int, str], int] = {}
    for change, row in [*((1, row) for row in rows), *((-1, row) for row in then)]:
        net[row] = net.get(row, 0) + change
    sql = NET_SQL.format(after=told_since, until=tended.lake.newest_snapshot())
    found = {(i, text): n for i, text, n in tended.rows(sql)}
    assert found == {row: n for row, n in net.items() if n}
