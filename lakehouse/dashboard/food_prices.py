"""What food costs, country by country."""

from __future__ import annotations

from typing import Any

import altair as alt
import streamlit as st

from lakehouse.dashboard.questions import FOOD_PRICES, FOODS
from lakehouse.dashboard.service import ask, caption


def page() -> None:
    """What can be chosen is asked once for the page, the prices at every choice."""
    st.title("Food prices")
    foods = ask(FOODS)
    if foods is None:
        return
    choices = foods.arrow().to_pylist()
    if not choices:
        st.info("There are no food prices in this release.")
        return
    _of_one_food(choices)


def _label(food: dict[str, Any]) -> str:
    return f"{food['commodity']}, {food['unit']}, {food['price_type'].lower()}"


@st.fragment
def _of_one_food(choices: list[dict[str, Any]]) -> None:
    labels = {_label(food): food for food in choices}
    chosen = st.selectbox("Food", list(labels))
    result = ask(FOOD_PRICES, **labels[chosen])
    if result is None:
        return
    rows = result.pandas()
    if rows.empty:
        st.info("A new release has come, and this food is not in it.")
        return
    last = rows[rows.price_month == rows.price_month.max()]
    countries, prices, average = st.columns(3)
    countries.metric("Countries", f"{rows.country_iso3.nunique()}")
    prices.metric("Prices collected", f"{rows.prices.sum():,}")
    month = last.price_month.iloc[0]
    average.metric(
        f"Average in {month:%B %Y}", f"${(last.average_price_usd * last.prices).sum() / last.prices.sum():,.2f}"
    )
    st.altair_chart(
        alt.Chart(rows).mark_line(point=True).encode(
            alt.X("price_month:T", title=None),
            alt.Y("average_price_usd:Q", title=f"US dollars for {labels[chosen]['unit']}"),
            alt.Color("country_iso3:N", title="country"),
            tooltip=["country_iso3", "price_month", alt.Tooltip("average_price_usd", format=",.2f"), "prices"],
        ),
        width="stretch",
    )  # fmt: skip
    st.dataframe(
        rows.iloc[::-1],
        column_config={"country_iso3": "country", "price_month": "month"}
        | {
            name: st.column_config.NumberColumn(name.removesuffix("_price_usd"), format="dollar")
            for name in ("average_price_usd", "lowest_price_usd", "highest_price_usd")
        },
        hide_index=True,
        height=280,
    )
    caption(result)
