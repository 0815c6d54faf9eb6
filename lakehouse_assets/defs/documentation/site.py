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
ICON = re.compile(r'<svg xmlns="http://www\.w3\.org/2000/svg" (viewBox="[^"]*")><path d="[^"]*"/></svg>')
CONFIG = re.compile(r'<script id="__config" type="application/json">({[^<]*})</script>')
MAKE_CONFIG = """{
  const script = document.currentScript, base = script.getAttribute("src").slice(0, -"/assets/config.js".length)
  const config = {...%s, base, search: `${base}/%s`}
  const text = JSON.stringify(config)
  script.insertAdjacentHTML("afterend", `<script id="__config" type="application/json">${text}</script>`)
}"""
SCRIPT = re.compile(r"<script>(var palette=[^<]*)</script>")
FROM_DISK = 'location.protocol==="file:"?'
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
            extra_css=["assets/site.css", "assets/icons.css"], extra_javascript=["assets/site.js"],
        )  # fmt: skip
        plugin = config.plugins["pages"] = _plugin(found)
        config.plugins.run_event("startup", command="build", dirty=False)
        build(config)
    _share(folder, plugin)
    # The languages that search does not speak, and what debuggers of the theme want: two thirds of its bytes.
    shutil.rmtree(folder / "assets" / "javascripts" / "lunr", ignore_errors=True)
    for path in [*folder.rglob("*.map"), *folder.glob("sitemap.xml*")]:
        path.unlink()
    edges = known.lineage.edges()
    numbers = {name: n for n, name in enumerate(dict.fromkeys(of for up in edges.values() for places in up.values()
                                                              for of, _ in places))}  # fmt: skip
    by_number = {
        table: {column: [[numbers[of], name] for of, name in places] for column, places in columns.items()}
        for table, columns in edges.items()
    }
    told = json.dumps([list(numbers), by_number], separators=(",", ":"))
    (folder / "assets" / "lineage.js").write_text(f"var LINEAGE={told}")  # no JSON: from a disk none can be fetched
    dbt_files.write(known, folder / "dbt")
    return len(found)


def _share(folder: Path, plugin: Any) -> None:
    """Write once what the theme would write into each page, and its search index once instead of twice."""
    (folder / "assets" / "icons.css").write_text("\n".join(map(_icon_style, plugin.icons.values(), plugin.icons)))
    (folder / "assets" / "palette.js").write_text(plugin.palette)
    config = json.loads(plugin.settings)
    search = config.pop("search").removeprefix(f"{config.pop('base')}/")
    (folder / "assets" / "config.js").write_text(MAKE_CONFIG % (json.dumps(config), search))
    (bundle,) = (folder / "assets" / "javascripts").glob("bundle.*.min.js")
    text = bundle.read_text()
    if text.count(FROM_DISK) == 1:  # the script that it takes from a disk serves from a web server too
        bundle.write_text(text.replace(FROM_DISK, "true?"))
        (folder / "search" / "search_index.json").unlink()


def _icon_style(name: str, svg: str) -> str:
    picture = svg.replace('"', "'").replace("#", "%23")
    return f'svg.{name}{{background:currentColor;mask:url("data:image/svg+xml,{picture}") center/contain no-repeat}}'


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
            self.site, self.icons, self.palette, self.settings = config, dict[str, str](), "", "{}"
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
            before, after = (
                ICON.sub(self.icon, BLANKS.sub("\n", part).replace(">\n", ">").replace("\n<", "<"))
                for part in (before, after)
            )
            if '"/assets/' in before:
                return before + start + inside + end + after  # the page of what isn't found: it may be anywhere
            base = ".." if 'href="../assets' in before else "."
            if script := SCRIPT.search(before):
                self.palette = script[1]
                before = before.replace(script[0], f'<script src="{base}/assets/palette.js"></script>')
            if config := CONFIG.search(after):
                self.settings = config[1]
                after = after.replace(config[0], f'<script src="{base}/assets/config.js"></script>')
            return before + start + inside + end + after

        def icon(self, svg: re.Match[str]) -> str:
            """A picture of the style sheet's instead of the theme's own, which each page would carry again."""
            name = self.icons.setdefault(svg[0], f"icon-{len(self.icons)}")
            return f'<svg class="{name}" {svg[1]}></svg>'

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
