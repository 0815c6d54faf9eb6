"""What later loads of the demo's lake go on with."""

from pathlib import Path

import pytest

from lakehouse.demo.feed import COLLISIONS, FILES, LIVE, SINCE, URL, Feed, FeedGoneError, feed_settings, note_feed
from lakehouse.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


def test_any_other_lake_has_no_settings_of_a_demo(settings: Settings) -> None:
    with feed_settings(settings) as value:
        assert value(URL) is value(SINCE) is None


def test_the_live_feed_goes_on_with_the_day_that_it_began_with(settings: Settings) -> None:
    note_feed(settings, Feed(LIVE, "2026-10-01"))
    with feed_settings(settings) as value:
        assert (value(SINCE), value(URL)) == ("2026-10-01", None)


def test_a_feed_whose_files_went_says_which_and_what_to_do(settings: Settings, tmp_path: Path) -> None:
    note_feed(settings, Feed(f"{FILES}{tmp_path / 'gone'}"))
    with feed_settings(settings) as value, pytest.raises(FeedGoneError) as told:
        value(URL)
    assert str(tmp_path / "gone" / COLLISIONS) in str(told.value)
    assert URL in str(told.value)
    assert "demo.json" in str(told.value)


def test_a_note_of_an_earlier_demo_is_read(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "demo.json").write_text('{"feed": "live"}')
    with feed_settings(settings) as value:
        assert value(SINCE) is None, "it says no day: the portal is asked for everything, as before"
