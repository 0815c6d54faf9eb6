"""Many writers at once: nobody gives up, nothing is lost and nothing comes twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from lakehouse.lake.connections import COMMIT_RETRIES
from lakehouse.lake.ducklake import Lake
from lakehouse.writing.pipelines import lake_pipeline

WRITERS, COMMITS = 16, 40
RETRIES_SQL = "SELECT current_setting('ducklake_max_retry_count')"


def test_every_connection_to_the_lake_tries_again_often_enough(lake: Lake) -> None:
    """SQLMesh's are opened with the same settings."""
    with closing(lake.connect()) as ours, lake_pipeline(lake, "retries").sql_client() as theirs:
        assert ours.execute(RETRIES_SQL).fetchone() == (COMMIT_RETRIES,)
        assert theirs.execute_sql(RETRIES_SQL) == [(COMMIT_RETRIES,)]


@pytest.mark.proof
def test_sixteen_writers_lose_nothing(lake: Lake) -> None:
    with closing(lake.connect()) as connection:
        connection.execute("CREATE TABLE raw.t (writer INT, n INT)")

    def write(writer: int) -> None:
        with closing(lake.connect()) as connection:
            for number in range(COMMITS):
                connection.execute("INSERT INTO raw.t VALUES (?, ?)", [writer, number])

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(WRITERS)))
    with closing(lake.connect(read_only=True)) as connection:
        found = connection.execute("SELECT count(*), count(DISTINCT (writer, n)) FROM raw.t").fetchone()
    assert found == (WRITERS * COMMITS, WRITERS * COMMITS)
