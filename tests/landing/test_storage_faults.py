"""A storage that can't be used is one sentence, in a command and in a load, and no secret is in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakehouse import settings as settings_module
from lakehouse.lake.ducklake import Lake
from tests.landing.conftest import EVENTS, LandingHouse, event
from tests.object_store import READER_KEY, READER_SECRET

FAULTS = {
    "no rights": (
        {"LAKEHOUSE_S3_ACCESS_KEY_ID": READER_KEY, "LAKEHOUSE_S3_SECRET_ACCESS_KEY": READER_SECRET},
        "these credentials may not do that",
    ),
    "a wrong secret": ({"LAKEHOUSE_S3_SECRET_ACCESS_KEY": "not-the-secret"}, "the secret key is wrong"),
    "a wrong endpoint": ({"LAKEHOUSE_S3_ENDPOINT": "http://127.0.0.1:9"}, "can't be reached"),
    "no such bucket": ({"LAKEHOUSE_STORAGE": "s3://no-such-bucket/lake"}, "there is no such bucket"),
}


@pytest.mark.parametrize("storage_environment", ["s3"], indirect=True)
@pytest.mark.parametrize("fault", FAULTS)
def test_it_is_named_by_every_command_and_by_a_load(
    house: LandingHouse, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = house.file("events.csv", EVENTS + event(1))
    changed, sentence = FAULTS[fault]
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    settings_module.load_settings.cache_clear()
    house.lake = Lake(settings_module.load_settings())
    uploaded = house.upload(path)
    listed = house.command("files", "ecommerce")
    loaded = house.load(raise_on_error=False)
    (failure,) = [event for event in loaded.all_events if event.is_step_failure]
    described = failure.step_failure_data.user_failure_data
    assert described is not None and described.description is not None
    for told in (uploaded.stderr, listed.stderr, described.description):
        assert sentence in told
        assert "LAKEHOUSE_S" in told
        assert "not-the-secret" not in told and READER_SECRET not in told
    assert (uploaded.exit_code, listed.exit_code) == (1, 1)
    assert house.marks() == []


def test_a_folder_that_can_not_be_written_to_is_named(tmp_path: Path) -> None:
    from lakehouse.storage import StorageError
    from lakehouse.storage.folder import FolderStorage

    (tmp_path / "landing").write_text("a file where a folder is wanted")
    (tmp_path / "events.csv").write_text("x")
    with pytest.raises(StorageError, match=r"landing"):
        FolderStorage(tmp_path).upload(tmp_path / "events.csv", "landing/ecommerce/events.csv")
