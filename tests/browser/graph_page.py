"""The web UI's page of the whole asset graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Page, expect

MARGIN = 24
STILL = 3
"""So many pictures in a row must be the same."""
NODES = """() => {
  const boxes = [...document.querySelectorAll('foreignObject')].map(node => node.getBoundingClientRect());
  const shown = boxes.filter(box => box.width > 0);
  return [Math.min(...shown.map(box => box.left)), Math.min(...shown.map(box => box.top)),
          Math.max(...shown.map(box => box.right)), Math.max(...shown.map(box => box.bottom))];
}"""


class Box(NamedTuple):
    """A rectangle on the page."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """In pixels, as all of it."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """The same downwards."""
        return self.bottom - self.top


class GraphPage:
    """The graph with every group open, drawn downwards: wider than high, as a README's picture is."""

    def __init__(self, page: Page, url: str, groups: Sequence[str]) -> None:
        self.page = page
        page.set_viewport_size({"width": 2400, "height": 1200})
        page.add_init_script("""localStorage.setItem('asset-graph-direction', '"vertical"')""")
        page.goto(f"{url}/asset-groups?expanded={','.join(f'global@global:{group}' for group in groups)}")
        for group in groups:
            expect(page.get_by_text(group, exact=True).first).to_be_visible()
        page.get_by_text("Hide navigation").click()

    def show_whole(self) -> Box:
        """Zoom out and move until every asset is in sight; gives where they are."""
        canvas = self._canvas()
        for _ in range(12):
            box = Box(*self.page.evaluate(NODES))
            if box.width <= canvas.width - 2 * MARGIN and box.height <= canvas.height - 2 * MARGIN:
                break
            self.page.locator("[aria-label=zoom_out]").click()
            self._settle()
        self.page.mouse.move(canvas.left + MARGIN, canvas.bottom - MARGIN)  # on no asset: a tooltip would stay
        self.page.mouse.wheel(
            (box.left + box.right - canvas.left - canvas.right) / 2,
            (box.top + box.bottom - canvas.top - canvas.bottom) / 2,
        )
        self._settle()
        return Box(*self.page.evaluate(NODES))

    def screenshot(self, path: Path) -> None:
        """A picture of the graph alone, once the assets' states have come, which the page fetches one by one."""
        box, canvas = self.show_whole(), self._canvas()
        pictures: list[bytes] = []
        while len(pictures) < STILL or len(set(pictures[-STILL:])) > 1:
            self.page.wait_for_timeout(1_500)
            pictures.append(self.page.screenshot())
        left, top = max(canvas.left, box.left - MARGIN), max(canvas.top, box.top - MARGIN)
        right, bottom = min(canvas.right, box.right + MARGIN), min(canvas.bottom, box.bottom + MARGIN)
        self.page.screenshot(path=path, clip={"x": left, "y": top, "width": right - left, "height": bottom - top})

    def _canvas(self) -> Box:
        """Where the graph is drawn."""
        corner = self.page.get_by_text("Search and filter assets").bounding_box()
        size = self.page.viewport_size
        assert corner
        assert size
        return Box(corner["x"] - 30, corner["y"] + corner["height"] + 30, size["width"] - 80, size["height"])

    def _settle(self) -> None:
        """Wait until nothing moves any more."""
        before = None
        while (now := self.page.evaluate(NODES)) != before:
            before = now
            self.page.wait_for_timeout(300)
