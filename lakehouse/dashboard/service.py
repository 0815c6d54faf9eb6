"""The one way to data: questions to the query service, and what is said about its answers."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

import streamlit as st

from lakehouse.query.client import LakehouseClient
from lakehouse.query.client.result import Result
from lakehouse.query.engine.problems import QueryError


@st.cache_resource
def client() -> LakehouseClient:
    """One client for all sessions: it keeps its connections, not its answers, which the service keeps itself.

    It reads two variables by itself: the settings would also read `.env`, where credentials are.
    """
    url = os.environ.get("LAKEHOUSE_QUERY_URL") or "http://127.0.0.1:8010"
    return LakehouseClient(url, os.environ.get("LAKEHOUSE_QUERY_TOKEN", ""))


def ask(sql: str, **parameters: Any) -> Result | None:
    """Ask the release that is chosen. None when there is no answer; why not is then on the page, as a sentence."""
    try:
        return client().query(sql, parameters=parameters, release=st.session_state.get("release") or None)
    except QueryError as error:
        explain(error)
        return None


def explain(error: QueryError) -> None:
    """Put a sentence on the page instead of an answer."""
    if error.kind == "unknown-table":
        st.info(f"This release does not hold what is shown here. {error}")
    elif error.kind == "unauthorized":
        st.error(f"{error} The dashboard's own token is its setting LAKEHOUSE_QUERY_TOKEN.")
    elif error.kind == "unavailable":
        # Where the service lies is nobody's business on a page that strangers may see.
        st.error(
            "The query service does not answer. Ask again in a moment; whoever runs it finds the reason in its log."
        )
    else:
        st.error(str(error))


def caption(result: Result) -> None:
    """A line on where an answer came from and how long it took."""
    if result.cut:
        st.warning(f"Only the first {result.rows:,} rows are shown: the answer was cut by its limit of {result.cut}.")
    st.caption(" · ".join(told(result, datetime.now(UTC))))


def told(result: Result, now: datetime) -> list[str]:
    """What the line says: release, age of the data, times, cold or warm, cached, held."""
    age = age_of(now - datetime.fromisoformat(result.cut_at))
    parts = [
        f"release {result.release} of {result.environment}",
        f"data {age} old",
        f"round trip {_milliseconds(result.round_trip_ms)}",
        f"executed in {_milliseconds(result.execution_ms)}",
        "warm" if result.warm else "cold",
    ]
    return [*parts, *(["cached"] if result.cached else []), *([result.held] if result.held else [])]


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
