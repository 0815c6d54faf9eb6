"""What happens when collisions come late or twice."""

from __future__ import annotations

import pytest

MONDAY, TUESDAY = "2024-04-01 12:00:00", "2024-04-02 12:00:00"


@pytest.fixture
def deployed(empty, crash):
    """Two crashes in prod, computed up to Sunday, 2024-03-31."""
    empty.execute(crash(1, "2024-03-20"), crash(2, "2024-03-29"), crash(3, "2024-03-31"))
    # As one choice of models: the rest would be computed for nothing.
    empty.deploy(execution_time=MONDAY, select_models=["+marts.collisions_daily", "+marts.collisions_summary"])
    return empty


def crashes(lake):
    return dict(lake.query("SELECT CAST(crash_date AS VARCHAR), SUM(crashes) FROM marts.collisions_daily GROUP BY 1"))


def run(lake, when):
    with lake.context() as context:
        return context.run("prod", execution_time=when)


@pytest.mark.slow
def test_a_late_row_inside_the_look_back_is_picked_up(deployed, crash):
    computed = "SELECT computed_at FROM marts.collisions_daily WHERE crash_date = '2024-03-20'"
    before = deployed.query(computed)
    deployed.execute(crash(4, "2024-03-30"), crash(5, "2024-03-20"))
    assert not run(deployed, TUESDAY).is_failure
    # 2024-03-20 is older than two days: not looked at again, and not written again.
    assert crashes(deployed) == {"2024-03-20": 1, "2024-03-29": 1, "2024-03-30": 1, "2024-03-31": 1}
    assert deployed.query(computed) == before


@pytest.mark.slow
def test_a_duplicate_fails_its_audit_and_no_mart_counts_it(deployed, crash):
    before = crashes(deployed)
    deployed.execute(crash(3, "2024-03-31"))
    assert run(deployed, TUESDAY).is_failure
    assert crashes(deployed) == before
    assert deployed.query("SELECT SUM(crashes) FROM marts.collisions_summary") == [(3,)]
