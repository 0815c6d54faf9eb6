"""The pages as a site by MkDocs and its theme Material: navigation, search, dark and light, phone and print.

Its Markdown is passed by, since ours is HTML already and the search index ours: 500 tables take seconds, not a minute.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import tempfile
from html import escape
from pathlib import Path
from typing import Any

from lakehouse_assets.defs.documentation import dbt_files
from lakehouse_assets.defs.documentation.known import Known
from lakehouse_assets.defs.documentation.pages import Page, pages

ASSETS = Path(__file__).parent / "assets"
NAVIGATION = {
    "Home": "index", "Tables": "tables", "Lineage": "lineage", "Sources": "sources", "Checks": "checks",
    "Releases": "releases", "Environments": "environments",
}  # fmt: skip
BLANKS = re.compile(r"\s*\n\s*")
MEDIA = "(prefers-color-scheme: {})"


def build_site(known: Known, folder: Path) -> int:
    """Write the site into a folder of its own, over one that is there. Gives how many pages it has."""
    os.environ.setdefault("NO_MKDOCS_2_WARNING", "1")  # an advertisement on standard error
    logging.getLogger("mkdocs").setLevel(logging.ERROR)
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    found = {page.path: page for page in pages(known)}
    with tempfile.TemporaryDirectory() as temporary:
        sources = Path(temporary) / "docs"
        shutil.copytree(ASSETS, sources / "assets")
        configuration = Path(temporary) / "mkdocs.yml"
        configuration.write_text("{}")
        config = load_config(
            str(configuration), docs_dir=str(sources), site_dir=str(folder), site_name=f"Lake: {known.environment}",
            use_directory_urls=False, theme=_theme(), plugins=["material/search", "material/offline"],
            nav=[{name: f"{path}.md"} for name, path in NAVIGATION.items()],
            extra={"polyfills": ["assets/iframe-worker.js"], "generator": False},
            extra_css=["assets/site.css"], extra_javascript=["assets/site.js"],
        )  # fmt: skip
        config.plugins["pages"] = _plugin(found)
        config.plugins.run_event("startup", command="build", dirty=False)
        build(config)
    # The languages that search does not speak, and what debuggers of the theme want: two thirds of its bytes.
    shutil.rmtree(folder / "assets" / "javascripts" / "lunr", ignore_errors=True)
    for path in [*folder.rglob("*.map"), *folder.glob("sitemap.xml*")]:
        path.unlink()
    edges = json.dumps(known.lineage.edges(), separators=(",", ":"))
    (folder / "assets" / "lineage.js").write_text(f"var LINEAGE={edges}")  # no JSON: from a disk none can be fetched
    dbt_files.write(known, folder / "dbt")
    return len(found)


def _theme() -> dict[str, Any]:
    light = {"media": MEDIA.format("light"), "scheme": "default", "primary": "indigo", "accent": "indigo"}
    dark = {"media": MEDIA.format("dark"), "scheme": "slate", "primary": "indigo", "accent": "indigo"}
    return {
        "name": "material",
        "font": False,  # none from elsewhere
        "features": ["navigation.top", "search.highlight"],
        "palette": [
            {**light, "toggle": {"icon": "material/weather-night", "name": "Dark"}},
            {**dark, "toggle": {"icon": "material/weather-sunny", "name": "Light"}},
        ],
    }


def _plugin(found: dict[str, Page]) -> Any:
    from mkdocs.plugins import BasePlugin
    from mkdocs.structure.files import File, Files
    from mkdocs.structure.toc import get_toc

    class Pages(BasePlugin):  # type: ignore[no-untyped-call, type-arg]
        """Gives MkDocs its pages, and search what it finds."""

        def on_files(self, files: Files, **_: Any) -> Files:
            for path, page in found.items():
                text = f"---\ntitle: {_yaml(page.title)}\nsearch:\n  exclude: true\n---\n"
                files.append(File.generated(self.site, f"{path}.md", content=text))
            return files

        def on_config(self, config: Any) -> Any:
            self.site = config
            return config

        def on_page_content(self, html: str, *, page: Any, **_: Any) -> str:
            ours = found[page.file.src_uri.removesuffix(".md")]
            page.toc = get_toc(
                [{"level": 2, "id": anchor, "name": escape(text), "children": []} for anchor, text in ours.headings]
            )
            folder = ours.path.rpartition("/")[0]
            inside = ours.content.replace(f'"~/{folder}/', '"') if folder else ours.content
            return f"<h1>{escape(ours.title)}</h1>" + inside.replace('"~/', '"../' if folder else '"')

        def on_post_page(self, output: str, **_: Any) -> str:
            """Without the blanks that the theme lays its HTML out with: a tenth of a site."""
            before, start, rest = output.partition("<article")
            inside, end, after = rest.rpartition("</article>")
            return BLANKS.sub("\n", before) + start + inside + end + BLANKS.sub("\n", after)

        def on_env(self, env: Any, *, config: Any, **_: Any) -> Any:
            index = config.plugins["material/search"].search_index
            for path, page in found.items():
                for entry in page.entries:
                    place = f"{path}.html{entry.anchor}"
                    index.entries.append({"location": place, "title": escape(entry.title), "text": escape(entry.text)})
            return env

    return Pages()


def _yaml(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
