"""A made-up sample of every feed: the same schemas and kinds of dirt as the real ones, small, always the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

from lakehouse.demo import sample_collisions, sample_events, sample_prices, sample_trips

FEEDS: dict[str, Callable[[Path, Random], None]] = {
    "taxi": sample_trips.write,
    "ecommerce": sample_events.write,
    "humanitarian": sample_prices.write,
    "collisions": sample_collisions.write,
}


def write_sample(folder: Path, seed: int = 20240101) -> None:
    """Write the files of all feeds below `folder`, a folder a feed, in the layout of the real data.

    The same seed gives the same bytes: loading a sample again finds nothing new.
    """
    for name, write in FEEDS.items():
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        # A generator a feed: a change to one leaves the others' bytes alone.
        write(target, Random(f"{seed}/{name}"))
