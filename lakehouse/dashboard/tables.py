"""Any published table's page, made of what its release says of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from lakehouse.dashboard.service import age_of, ask, caption, client, explain
from lakehouse.dashboard.shapes import MEASURES, PERIODS, Shape, shape_of
from lakehouse.query.engine.problems import QueryError

ROWS = "rows"
FREQUENCY = {"day": "D", "week": "W-MON", "month": "MS", "year": "YS"}
SIGN = {"passed": ":material/check_circle:", "failed": ":material/error:"}


def page() -> None:
    """A table, chosen in a box or by the address (`?table=marts.daily_revenue`)."""
    try:
        listing = client().tables(release=st.session_state.get("release") or None)
    except QueryError as error:
        explain(error)
        return
    tables = {table["name"]: table for table in listing["tables"]}
    if not tables:
        st.info("This release holds no table.")
        return
    asked = st.query_params.get("table", "")
    names = list(tables)
    chosen = st.selectbox("Table", names, index=names.index(asked) if asked in tables else 0)
    st.query_params["table"] = chosen
    table = tables[chosen]
    st.header(chosen)
    _about(table, listing)
    shape = shape_of(table)
    _totals(shape)
    if shape.time:
        _over_time(shape)
    if shape.categories:
        _by_category(shape)
    if shape.coordinates:
        _map(shape)
    _rows(shape)
    with st.expander("Columns"):
        st.dataframe(pd.DataFrame(table["columns"]), hide_index=True)


def _about(table: dict[str, Any], listing: dict[str, Any]) -> None:
    """Meaning, owner, grain, freshness, checks, release."""
    if table["description"]:
        st.markdown(_plain(table["description"]))
    now = datetime.now(UTC)
    told = [
        f"as of {age_of(now - datetime.fromisoformat(table['as_of']))} ago",
        f"computed {table['cron']}" if table["cron"] else "",
        f"owner {table['owner']}" if table["owner"] else "",
        f"a row for each {', '.join(table['grain'])}" if table["grain"] else "",
        f"release {listing['release']} of {listing['environment']}, code {listing['code_version']}",
    ]
    st.caption(_plain(" · ".join(part for part in told if part)))
    for held in listing["held_back"]:
        if table["name"] in held["tables"]:
            st.warning(_plain(f"It stays as it was: {'; '.join(held['reasons'])}"))
    failed = [check["name"] for check in table["checks"] if check["result"] == "failed"]
    if failed:
        st.warning(_plain(f"A check that only warns has failed: {', '.join(failed)}"))
    if table["checks"]:
        with st.expander(f"{len(table['checks'])} checks, {len(table['checks']) - len(failed)} without complaint"):
            for check in table["checks"]:
                sign = SIGN.get(check["result"], ":material/help:")
                st.markdown(f"{sign} {_plain(check['audit'])}, {check['result']} {check['at'][:16].replace('T', ' ')}")


def _plain(text: str) -> str:
    """Text that is shown as it is written: what others wrote is no Markdown of ours."""
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]()<>#+-.!|$~:" else sign for sign in text)


def _totals(shape: Shape) -> None:
    result = ask(shape.totals())
    if result is None:
        return
    (row,) = result.arrow().to_pylist()
    shown = shape.measures[:MEASURES]
    for column, (title, value) in zip(
        st.columns(len(shown) + 1),
        [("Rows", row["rows"]), *((_title(name), row[f"m{number}"]) for number, name in enumerate(shown))],
        strict=True,
    ):
        column.metric(title, f"{value or 0:,.0f}" if abs(value or 0) >= 1_000 else f"{value or 0:,.4g}")
    caption(result)


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _value(shape: Shape, key: str) -> str:
    return st.selectbox("Value", [*shape.values, ROWS], key=f"{shape.table} {key}", width=260)


@st.fragment
def _over_time(shape: Shape) -> None:
    value = _value(shape, "over time")
    period = st.segmented_control("By", PERIODS, default=PERIODS[0], required=True) or PERIODS[0]
    result = ask(shape.over_time(value), period=period)
    if result is None:
        return
    rows = result.pandas()
    if rows.empty:
        st.info("There is nothing to draw.")
        return
    chosen = str(rows["period"].iloc[0])
    # A period without rows is a gap in the line, not a line across it.
    every = pd.date_range(rows["begins"].min(), rows["begins"].max(), freq=FREQUENCY[chosen])
    if len(every) <= 10_000:
        rows = rows.set_index("begins").reindex(every).rename_axis("begins").reset_index()
    told = "average" if value in shape.averages else "rows" if value == ROWS else "total"
    st.altair_chart(
        alt.Chart(rows, title=f"{_title(value)} by {chosen}").mark_line(point=len(rows) < 100).encode(
            alt.X("begins:T", title=None), alt.Y("value:Q", title=told),
            tooltip=[alt.Tooltip("begins:T"), alt.Tooltip("value:Q", format=",.6g")],
        ),
        width="stretch",
    )  # fmt: skip
    caption(result)


@st.fragment
def _by_category(shape: Shape) -> None:
    left, right = st.columns(2)
    with left:
        category = st.selectbox("By", shape.categories, key=f"{shape.table} category", width=260)
    with right:
        value = _value(shape, "by category")
    result = ask(shape.by_category(category, value))
    if result is None:
        return
    st.altair_chart(
        alt.Chart(result.pandas(), title=f"{_title(value)} by {_title(category).lower()}").mark_bar().encode(
            alt.X("value:Q", title=None),
            alt.Y("name:N", sort="-x", title=None, axis=alt.Axis(labelLimit=260)),
            tooltip=["name", alt.Tooltip("value:Q", format=",.6g")],
        ),
        width="stretch",
    )  # fmt: skip
    caption(result)


@st.fragment
def _map(shape: Shape) -> None:
    result = ask(shape.places())
    if result is None:
        return
    rows = result.pandas()
    st.altair_chart(
        alt.Chart(rows, title="Where").mark_circle(size=12, opacity=0.4).encode(
            alt.X("longitude:Q", scale=alt.Scale(zero=False)), alt.Y("latitude:Q", scale=alt.Scale(zero=False))
        ),
        width="stretch",
    )  # fmt: skip
    caption(result)


@st.fragment
def _rows(shape: Shape) -> None:
    words = st.text_input("Rows with the words", key=f"{shape.table} words", width=260) if shape.texts else ""
    result = ask(shape.rows(contains=bool(words)), **({"words": words} if words else {}))
    if result is None:
        return
    st.dataframe(result.pandas(), hide_index=True)
    caption(result)
