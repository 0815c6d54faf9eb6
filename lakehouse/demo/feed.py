"""Which feed the demo put into the lake, and the settings with which later loads of its sources go on with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from lakehouse.settings import Settings

COLLISIONS = "collisions/collisions_soda_strings.parquet"
"""In the feed's folder: what the local portal answers from."""
URL, SINCE = "SOURCES__NYC_COLLISIONS__BASE_URL", "SOURCES__NYC_COLLISIONS__SINCE"
LIVE, SAMPLE, FILES = "live", "sample", "files "


class FeedGoneError(Exception):
    """The files of the demo's feed are no longer where they were."""


@dataclass(frozen=True)
class Feed:
    """`feed` is live, sample or `files FOLDER`; `since` the first day that is asked of the real portal."""

    feed: str
    since: str = ""

    def folder(self, settings: Settings) -> Path:
        """The files that it is made of."""
        return Path(self.feed.removeprefix(FILES)) if self.feed.startswith(FILES) else settings.data_dir / "sample"


def noted_feed(settings: Settings) -> Feed | None:
    """The feed that the demo put into this lake; None in any other lake."""
    note = _note(settings)
    return Feed(**json.loads(note.read_text())) if note.exists() else None


def note_feed(settings: Settings, feed: Feed) -> None:
    """Say which feed the lake holds from now on."""
    _note(settings).write_text(json.dumps(asdict(feed)))


@contextmanager
def feed_settings(settings: Settings) -> Iterator[Callable[[str], str | None]]:
    """Gives the value of a source's setting (`SOURCES__…`) in the demo's lake; None where the demo has none.

    The first to ask for the portal's address starts the local one, which answers until the block ends: a load by hand,
    by the schedule and by the web UI need nothing else to run. Raises FeedGoneError when its file is gone.
    """
    with ExitStack() as stack:

        @cache
        def value(name: str) -> str | None:
            feed = noted_feed(settings) if name in (URL, SINCE) else None
            if feed is None:
                return None
            if feed.feed == LIVE:
                return feed.since if name == SINCE and feed.since else None
            if name == SINCE:
                return None
            rows = feed.folder(settings) / COLLISIONS
            if not rows.exists():
                raise FeedGoneError(
                    f"{rows} is missing: this is the demo's lake ({_note(settings)}), and its local portal answers "
                    f"from that file. Put it back, or set {URL} to a portal; `make reset` empties the lake."
                )
            from lakehouse.demo.portal import serve

            return stack.enter_context(serve(rows)).base_url

        yield value


def _note(settings: Settings) -> Path:
    return settings.data_dir / "demo.json"
