"""HTML that the pages are made of. Links begin with `~/`, the site's root; all that others wrote is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape


def path_of(table: str) -> str:
    """A table's page, without its ending; a name may have characters that an address or a disk takes otherwise."""
    return "tables/" + re.sub(r"[^\w.-]", "_", table)


def link(table: str, anchor: str = "", text: str = "") -> str:
    """A link to a table's page."""
    return f'<a href="~/{path_of(table)}.html{escape(anchor)}">{escape(text or table)}</a>'


def grid(head: Sequence[str], rows: Iterable[Sequence[str]], label: str, ids: Sequence[str] = ()) -> str:
    """A table of cells that are HTML already; it scrolls by itself where it is too wide."""
    titles = "".join(f'<th scope="col">{escape(one)}</th>' for one in head)
    body = "".join(
        f"<tr{f' id={chr(34)}{escape(ids[n])}{chr(34)}' if ids else ''}>{''.join(f'<td>{c}</td>' for c in row)}</tr>"
        for n, row in enumerate(rows)
    )
    return (
        f'<div class="grid-of-cells" tabindex="0" role="region" aria-label="{escape(label)}"><table class="cells">'
        f"<thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Names and what they are; what is empty is left out."""
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{value}</dd>' for name, value in rows if value)}</dl>"


def plot(rows: Sequence[tuple[str, int]], label: str) -> str:
    """Rows over time, small; nothing for a single point."""
    if len(rows) < 2:
        return ""
    low, high = min(count for _, count in rows), max(count for _, count in rows)
    step, scale = 400 / (len(rows) - 1), 60 / (high - low or 1)
    points = " ".join(f"{n * step:.0f},{66 - (count - low) * scale:.0f}" for n, (_, count) in enumerate(rows))
    told = f"{label}: {rows[0][1]:,} on {rows[0][0][:10]}, {rows[-1][1]:,} on {rows[-1][0][:10]}"
    return (
        f'<figure class="plot"><svg viewBox="0 0 400 72" role="img" aria-label="{escape(told)}"><polyline points='
        f'"{points}"/></svg><figcaption>{escape(told)}; {low:,} to {high:,}</figcaption></figure>'
    )


def paragraphs(words: str) -> str:
    """Text as it was written, a paragraph for each that an empty line ends."""
    return "".join(f"<p>{escape(part)}</p>" for part in words.split("\n\n") if part.strip())


def code(text: str, language: str = "sql") -> str:
    """A block of it, keywords, texts, numbers and remarks in colours; it scrolls by keyboard too."""
    return f'<div class="highlight"><pre tabindex="0"><code>{_coloured(text.strip(), language)}</code></pre></div>'


def _coloured(text: str, language: str) -> str:
    """By Pygments, a fifth of its own HTML: neighbours share an element, and most words have none."""
    from pygments.lexers import PythonLexer, SqlLexer
    from pygments.token import Comment, Keyword, Number, String

    elements = {Comment: "i", Keyword: "b", Number: "var", String: "samp"}
    lexer = PythonLexer() if language == "python" else SqlLexer()
    parts: list[tuple[str, str]] = []
    for kind, word in lexer.get_tokens(text):
        element = next((name for of, name in elements.items() if kind in of), "")
        if parts and (parts[-1][0] == element or not word.strip()):
            parts[-1] = (parts[-1][0], parts[-1][1] + word)
        else:
            parts.append((element, word))
    return "".join(
        f"<{element}>{escape(words, quote=False)}</{element}>" if element else escape(words, quote=False)
        for element, words in parts
    ).rstrip()


def when(moment: str) -> str:
    """An ISO moment for people; nothing for none."""
    return f"{moment[:16].replace('T', ' ')} UTC" if moment else ""


def sections(parts: Iterable[tuple[str, str, str]]) -> tuple[str, list[tuple[str, str]]]:
    """Those that have a content, below their headings."""
    shown = [part for part in parts if part[2]]
    html = "".join(f'<h2 id="{anchor}">{escape(title)}</h2>{content}' for anchor, title, content in shown)
    return html, [(anchor, title) for anchor, title, _ in shown]
