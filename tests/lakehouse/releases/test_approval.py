"""A release of prod may need a second person before readers get it."""

from __future__ import annotations

from contextlib import closing

import pytest

from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.releases import approval, publishing
from lakehouse.releases.log import ReleaseError
from lakehouse.releases.pointer import read_pointer
from lakehouse.releases.reading import connect_release
from tests.lakehouse.releases.conftest import Publisher, served


def readers_get(publisher: Publisher) -> int | None:
    """The release that `current.json` names."""
    pointer = read_pointer(publisher.lake.storage, publisher.environment)
    return pointer and pointer["release"]


@pytest.fixture
def strict(publisher: Publisher) -> Publisher:
    """One that publishes for readers who wait for a second person."""
    settings = publisher.lake.settings.model_copy(update={"release_approval": True})
    publisher.execute("CREATE TABLE marts.days AS SELECT 1 AS i")
    return Publisher(Lake(settings))


def test_readers_keep_theirs_until_somebody_else_approves(strict: Publisher) -> None:
    strict.publish(served("marts.days", "1"))
    assert readers_get(strict) is None
    with pytest.raises(ReleaseError, match="Release 1 of prod is by tester: somebody else has to approve it"):
        approval.approve(strict.lake, "prod", None, by="tester")
    assert approval.approve(strict.lake, "prod", None, by="ann").number == 1
    assert readers_get(strict) == 1
    with pytest.raises(ReleaseError, match="No release of prod waits"):
        approval.approve(strict.lake, "prod", None, by="ann")
    for content in ("2", "3", "4"):
        strict.publish(served("marts.days", content))
    assert readers_get(strict) == 1
    connection, reading = connect_release(strict.lake.settings, "prod", 3)  # who is to approve can look
    connection.close()
    assert reading.number == 3
    for way_round in (
        lambda: publishing.rollback(strict.lake, "prod", 4, by="tester"),
        lambda: approval.approve(strict.lake, "prod", 1, by="ann"),
    ):
        with pytest.raises(ReleaseError, match="waits? for an approval"):
            way_round()
    assert publishing.resume(strict.lake, "prod").number == 1
    assert approval.approve(strict.lake, "prod", 3, by="ann").number == 3
    assert readers_get(strict) == 3
    with closing(connect(strict.lake.settings)) as connection:
        assert [one.number for one in approval.waiting(connection, "prod")] == [4]
        assert {key: by for key, (by, _) in approval.given(connection).items()} == {
            ("prod", 1): "ann",
            ("prod", 3): "ann",
        }


def test_what_a_schedule_released_of_a_persons_deploy_is_that_persons(strict: Publisher) -> None:
    with closing(connect(strict.lake.settings)) as connection:
        connection.execute(
            "INSERT INTO ledger.deployments (environment, content_key, code_version, plan_id, run) "
            "VALUES ('prod', 'k', 'v1', 'p', 'deploy by ann')"
        )
    strict.publish(served("marts.days", "1"))
    with pytest.raises(ReleaseError, match="is by ann"):
        approval.approve(strict.lake, "prod", None, by="ann")
    assert approval.approve(strict.lake, "prod", None, by="ben").number == 1


def test_a_hold_outlasts_an_approval(strict: Publisher) -> None:
    for content in ("1", "2"):
        strict.publish(served("marts.days", content))
        approval.approve(strict.lake, "prod", None, by="ann")
    publishing.rollback(strict.lake, "prod", None, by="ben")
    strict.publish(served("marts.days", "3"))
    approval.approve(strict.lake, "prod", None, by="ann")
    assert readers_get(strict) == 1
    assert publishing.resume(strict.lake, "prod").number == 3


def test_other_environments_need_nobody(strict: Publisher) -> None:
    qa = Publisher(strict.lake, "qa")
    qa.publish(served("marts.days", "1"))
    assert readers_get(qa) == 1
