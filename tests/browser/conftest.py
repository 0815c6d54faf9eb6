"""A headless Chromium, as it is packaged for the system: nothing is downloaded."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from lakehouse.settings import PROJECT_ROOT

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# No sandbox: CI's containers run as root, where Chromium has none. The rest keeps it from calling home.
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


LONGEST_WAIT_MILLISECONDS = 240_000
"""The first page waits for a server's imports, on a slow machine that does other things beside."""
expect.set_options(timeout=LONGEST_WAIT_MILLISECONDS)  # not Playwright's five seconds


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One browser for all tests here. It leaves with them: while it is there an event loop runs in this process."""
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    assert found, f"None of {', '.join(NAMES)} is installed. Install one: sudo apt-get install chromium"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty tab that remembers nothing of other tests."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000}, timezone_id="UTC", reduced_motion="reduce")
    context.set_default_timeout(LONGEST_WAIT_MILLISECONDS)
    yield context.new_page()
    context.close()


@pytest.fixture
def images(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where screenshots go: the documentation's images with --screenshots, else a folder that is thrown away."""
    folder = PROJECT_ROOT / "docs" / "images" if request.config.getoption("--screenshots") else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    return folder
