"""Which table and which column is made of which others, and the picture of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape
from typing import TypeVar

from lakehouse.releases.manifest import Lineage as ReleaseLineage

T = TypeVar("T")
Place = tuple[str, str]
"""A table and a column of it."""
WIDTH, HEIGHT, GAP_X, GAP_Y = 270, 40, 60, 14
LONGEST = 36


class Lineage:
    """Edges of tables and of columns, upwards."""

    def __init__(self) -> None:
        self.above: dict[str, set[str]] = {}
        self.below: dict[str, set[str]] = {}
        self._up: dict[Place, set[Place]] = {}

    @classmethod
    def of_release(cls, known: ReleaseLineage) -> Lineage:
        """As a release's manifest has it."""
        lineage = cls()
        for table, columns in known.items():
            lineage.add(table, {name: [(up, of) for up, of in sources] for name, sources in columns.items()})
        return lineage

    def add(self, table: str, columns: Mapping[str, Iterable[Place]], above: Iterable[str] = ()) -> None:
        """What a table and its columns are made of."""
        self.above.setdefault(table, set())
        for column, places in columns.items():
            for place in places:
                self._up.setdefault((table, column), set()).add(place)
                above = [*above, place[0]]
        for name in {*above} - {table}:
            self.above[table].add(name)
            self.below.setdefault(name, set()).add(table)
            self.above.setdefault(name, set())

    def sources(self, place: Place) -> list[Place]:
        """What a column is directly computed from."""
        return sorted(self._up.get(place, ()))

    def edges(self) -> dict[str, dict[str, list[Place]]]:
        """What each column of each table is directly computed from."""
        found: dict[str, dict[str, list[Place]]] = {}
        for (table, column), places in self._up.items():
            found.setdefault(table, {})[column] = sorted(places)
        return found

    def upstream(self, places: Collection[Place]) -> set[Place]:
        """All columns that these are computed from, on whatever way."""
        return _reached(places, self._up)

    def around(self, table: str) -> set[str]:
        """A table, all that it is made of, all that is made of it."""
        return {table} | _reached({table}, self.above) | _reached({table}, self.below)


def _reached(start: Collection[T], edges: Mapping[T, Collection[T]]) -> set[T]:
    found, waiting = set[T](), list(start)
    while waiting:
        new = set(edges.get(waiting.pop(), ())) - found
        found |= new
        waiting += new
    return found


def picture(lineage: Lineage, tables: Collection[str], links: Mapping[str, str], here: str = "") -> str:
    """An SVG: sources at the left, files at the right, a link on each box, each to the right of what it is made of."""
    layers = _layers(lineage, tables)
    places = {
        name: (10 + x * (WIDTH + GAP_X), 10 + y * (HEIGHT + GAP_Y))
        for x, layer in enumerate(layers)
        for y, name in enumerate(layer)
    }
    width = 20 + len(layers) * (WIDTH + GAP_X) - GAP_X
    height = 20 + max(map(len, layers), default=1) * (HEIGHT + GAP_Y) - GAP_Y
    numbers = {name: n for n, name in enumerate(places)}
    arrows = []
    for name, (x, y) in places.items():
        for above in sorted(lineage.above.get(name, set()) & places.keys()):
            left, top = places[above][0] + WIDTH, places[above][1]
            bend = (x - left) // 2
            curve = f"M{left} {top + HEIGHT // 2}c{bend} 0 {bend} {y - top} {x - left} {y - top}"
            arrows.append(f'<path data-of="{numbers[above]} {numbers[name]}" d="{curve}"/>')
    boxes = [_box(name, x, y, links.get(name, ""), is_here=name == here) for name, (x, y) in places.items()]
    label = f"Lineage of {here}" if here else "Lineage of all tables"
    return (
        f'<div class="lineage" tabindex="0" role="group" aria-label="{escape(label)}"><svg width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}">{"".join(arrows)}{"".join(boxes)}</svg></div>'
    )


def _box(name: str, x: int, y: int, link: str, *, is_here: bool) -> str:
    """Its size, and where its words stand, are in the style sheet: a large lake has a hundred thousand of these."""
    kind, _, rest = name.partition(".")
    text = {"source": f"source {rest}", "file": f"released {rest.split('.')[-1]}"}.get(kind, name)
    shown = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    title = f"<title>{escape(text)}</title>" if shown != text else ""
    classes = " ".join([*([kind] if kind in ("source", "file") else []), *(["here"] if is_here else [])])
    drawn = (
        f"<g{f' class={chr(34)}{classes}{chr(34)}' if classes else ''}"
        f"{f' data-table={chr(34)}{escape(name)}{chr(34)}' if shown != name else ''}"
        f' transform="translate({x} {y})">{title}<rect/><text>{escape(shown)}</text></g>'
    )
    return f'<a href="{escape(link)}">{drawn}</a>' if link else drawn


def _layers(lineage: Lineage, tables: Collection[str]) -> list[list[str]]:
    """Each table one to the right of the last that it is made of, near to what it is made of."""
    shown, depth = set(tables), dict[str, int]()
    above = {name: sorted(lineage.above.get(name, set()) & shown) for name in shown}

    def place(name: str, seen: frozenset[str]) -> int:
        if name not in depth:
            parents = [one for one in above[name] if one not in seen]
            depth[name] = max((place(one, seen | {name}) + 1 for one in parents), default=0)
        return depth[name]

    for name in sorted(shown):
        place(name, frozenset())
    last = max(depth.values(), default=0)
    depth |= {name: last for name in shown if name.startswith("file.")}
    layers: list[list[str]] = [[] for _ in range(last + 1)]
    for name in sorted(shown):
        layers[depth[name]].append(name)
    at: dict[str, float] = {}
    for layer in layers:
        layer.sort(key=lambda name: (_middle([at[one] for one in above[name] if one in at]), name))
        at |= {name: float(index) for index, name in enumerate(layer)}
    return layers


def _middle(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("inf")
