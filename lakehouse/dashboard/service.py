"""The one way to data: questions to the query service, and what is said about its answers."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import streamlit as st

from lakehouse.query.client import LakehouseClient
from lakehouse.query.client.result import Result
from lakehouse.query.engine.problems import QueryError

MOST_ROWS = 10_000
"""Of an answer: a browser draws no more."""


@st.cache_resource
def client() -> LakehouseClient:
    """One client for all sessions: it keeps its connections, not its answers, which the service keeps itself.

    It reads two variables by itself: the settings would also read `.env`, where credentials are.
    """
    url = os.environ.get("LAKEHOUSE_QUERY_URL") or "http://127.0.0.1:8010"
    return LakehouseClient(url, os.environ.get("LAKEHOUSE_QUERY_TOKEN", ""))


def chosen_release() -> int | None:
    """The release that the visitor chose; None: the one that readers get."""
    return st.session_state.get("release") or None


def ask(
    sql: str, parameters: Mapping[str, Any] | None = None, *, explained: Callable[[QueryError], str] = str
) -> Result | None:
    """Ask the release that is chosen. None when there is no answer; why not is then on the page, as a sentence.

    `explained` says what is wrong with the SQL, where that is it.
    """
    try:
        return client().query(sql, parameters=parameters, release=chosen_release(), limit=MOST_ROWS)
    except QueryError as error:
        explain(error, explained)
        return None


def explain(error: QueryError, explained: Callable[[QueryError], str] = str) -> None:
    """Put a sentence on the page instead of an answer."""
    if error.kind == "unknown-table":
        st.info(plain(f"This release does not hold what is shown here. {explained(error)}"))
    elif error.kind == "unauthorized":
        st.error(f"{plain(str(error))} The dashboard's own token is its setting LAKEHOUSE_QUERY_TOKEN.")
    elif error.kind == "unavailable":
        # Where the service lies is nobody's business on a page that strangers may see.
        st.error(
            "The query service does not answer. Ask again in a moment; whoever runs it finds the reason in its log."
        )
    else:
        st.error(plain(explained(error)))


def plain(text: str) -> str:
    """Text that is shown as it is written: what others wrote is no Markdown of ours."""
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]()<>#+-.!|$~:" else sign for sign in text)


def caption(*results: Result) -> None:
    """A line on where answers came from and how long they took; two, where a new release came between them."""
    for result in results:
        if result.cut:
            st.warning(
                f"Only the first {result.rows:,} rows are shown: the answer was cut by its limit of {result.cut}."
            )
    for release in sorted({result.release for result in results}):
        st.caption(" · ".join(told([one for one in results if one.release == release], datetime.now(UTC))))


def told(results: Sequence[Result], now: datetime) -> list[str]:
    """What the line says of the answers of one release: its number, age of the data, times, cold or warm, held."""
    one = results[0]
    parts = [
        f"release {one.release} of {one.environment}",
        f"data {age_of(now - datetime.fromisoformat(one.cut_at))} old",
        f"round trip {_milliseconds(sum(result.round_trip_ms for result in results))}",
        f"executed in {_milliseconds(sum(r.execution_ms for r in results if not math.isnan(r.execution_ms)))}",
        "warm" if all(result.warm for result in results) else "cold",
        "cached" if all(result.cached for result in results) else "",
        one.held,
        f"{len(results)} answers" if len(results) > 1 else "",
    ]
    return [part for part in parts if part]


def age_of(age: timedelta) -> str:
    """`40 s`, `3 min`, `5 h` or `2 days`."""
    seconds = max(0, int(age.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min"
    if seconds < 2 * 86_400:
        return f"{seconds // 3600} h"
    return f"{seconds // 86_400} days"


def _milliseconds(value: float) -> str:
    return f"{value:.1f} ms" if value < 10 else f"{value:,.0f} ms"
