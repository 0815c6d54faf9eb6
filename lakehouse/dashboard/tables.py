"""Any published table's page, made of what its release says of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pandas as pd
import streamlit as st

from lakehouse.dashboard import charts
from lakehouse.dashboard.charts import number, titled
from lakehouse.dashboard.service import age_of, ask, caption, chosen_release, client, explain, plain
from lakehouse.dashboard.shapes import MEASURES, PERIODS, Shape, shape_of
from lakehouse.query.client.result import Result
from lakehouse.query.engine.problems import QueryError

ROWS = "rows"
SIGN = {"passed": ":material/check_circle:", "failed": ":material/error:"}


def page() -> None:
    """A table, chosen in a box or by the address (`?table=marts.daily_revenue`)."""
    try:
        listing = client().tables(release=chosen_release())
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
        st.markdown(plain(table["description"]))
    now = datetime.now(UTC)
    told = [
        f"as of {age_of(now - datetime.fromisoformat(table['as_of']))} ago",
        f"computed {table['cron']}" if table["cron"] else "",
        f"owner {table['owner']}" if table["owner"] else "",
        f"a row for each {', '.join(table['grain'])}" if table["grain"] else "",
        f"release {listing['release']} of {listing['environment']}, code {listing['code_version']}",
    ]
    st.caption(plain(" · ".join(part for part in told if part)))
    for held in listing["held_back"]:
        if table["name"] in held["tables"]:
            st.warning(plain(f"It stays as it was: {'; '.join(held['reasons'])}"))
    failed = [check["name"] for check in table["checks"] if check["result"] == "failed"]
    if failed:
        st.warning(plain(f"A check that only warns has failed: {', '.join(failed)}"))
    if table["checks"]:
        with st.expander(f"{len(table['checks'])} checks, {len(table['checks']) - len(failed)} without complaint"):
            for check in table["checks"]:
                sign = SIGN.get(check["result"], ":material/help:")
                st.markdown(f"{sign} {plain(check['audit'])}, {check['result']} {check['at'][:16].replace('T', ' ')}")


def _totals(shape: Shape) -> None:
    result = ask(shape.totals())
    if result is None:
        return
    (row,) = result.arrow().to_pylist()
    shown = shape.measures[:MEASURES]
    for column, (title, value) in zip(
        st.columns(len(shown) + 1),
        [("Rows", row["rows"]), *((titled(name), row[f"m{place}"]) for place, name in enumerate(shown))],
        strict=True,
    ):
        column.metric(title, number(value or 0))
    caption(result)


def _value(shape: Shape, key: str) -> str:
    return st.selectbox("Value", [*shape.values, ROWS], key=f"{shape.table} {key}", width=260)


@st.fragment
def _over_time(shape: Shape) -> None:
    value = _value(shape, "over time")
    period = st.segmented_control("By", PERIODS, default=PERIODS[0], required=True) or PERIODS[0]
    result = ask(shape.over_time(value), {"period": period})
    if result is None:
        return
    rows = result.pandas()
    if rows.empty:
        st.info("There is nothing to draw.")
        return
    chosen = str(rows["period"].iloc[0])
    told = "average" if value in shape.averages else "rows" if value == ROWS else "total"
    _draw(result, kind="line", x="begins", y="value", title=f"{titled(value)} by {chosen}", titles={"value": told})


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
    title, titles = f"{titled(value)} by {titled(category).lower()}", {"name": category, "value": titled(value)}
    _draw(result, kind="bar", x="name", y="value", title=title, titles=titles)


@st.fragment
def _map(shape: Shape) -> None:
    result = ask(shape.places())
    if result is not None:
        _draw(result, kind="map")


@st.fragment
def _rows(shape: Shape) -> None:
    words = st.text_input("Rows with the words", key=f"{shape.table} words", width=260) if shape.texts else ""
    result = ask(shape.rows(contains=bool(words)), {"words": words} if words else None)
    if result is None:
        return
    st.dataframe(charts.table(result.pandas(), result.columns), hide_index=True)
    caption(result)


def _draw(result: Result, **options: Any) -> None:
    drawn = charts.chart(result.pandas(), result.columns, options)
    if drawn is not None:
        st.altair_chart(drawn, width="stretch")
    caption(result)
