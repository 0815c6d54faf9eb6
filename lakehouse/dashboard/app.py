"""The dashboard's frame: the release that is read, and its pages. Streamlit runs this file at every interaction."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import streamlit as st

from lakehouse.dashboard import tables
from lakehouse.dashboard.pages import streamlit_pages
from lakehouse.dashboard.service import age_of, chosen_release, client, explain
from lakehouse.query.engine.problems import QueryError

CURRENT = 0
"""The choice of whichever release readers get; releases are numbered from 1."""


def choose_release(listing: dict[str, Any]) -> None:
    """A box of the releases that are kept; the first choice follows what readers get."""
    cut_at = {found["release"]: datetime.fromisoformat(found["cut_at"]) for found in listing["releases"]}

    def label(number: int) -> str:
        if number == CURRENT:
            return f"{'held at' if listing['held'] else 'newest,'} {listing['release']}"
        return f"{number}, cut {age_of(datetime.now(UTC) - cut_at[number])} ago"

    chosen = st.session_state.get("release", CURRENT)
    if chosen not in (CURRENT, *cut_at):
        st.sidebar.info(f"Release {chosen} is no longer kept.")
        st.session_state["release"] = CURRENT
    st.sidebar.selectbox("Release", [CURRENT, *cut_at], format_func=label, key="release")
    if listing["held"]:
        st.sidebar.warning(f"Readers of {listing['environment']} are {listing['held']}: newer releases are not shown.")
    # A click runs this file again, as every interaction does.
    st.sidebar.button("Ask again", width="stretch")


def main() -> None:
    """One page, and beside it the release that it comes from."""
    st.set_page_config("Lakehouse", page_icon=":material/water:", layout="wide")
    try:
        choose_release(client().releases())
        written = client().pages(chosen_release())["pages"]
    except QueryError as error:
        explain(error)
        st.button("Ask again")
        return
    everything = st.Page(tables.page, title="All tables", icon=":material/table:", url_path="tables")
    pages = [*streamlit_pages({page["name"]: page["text"] for page in written}), everything]
    # Each page has an address of its own, also the first: the dashboard's own address leads there.
    start = st.Page(lambda: st.switch_page(pages[0]), title="Start", default=True, visibility="hidden")
    st.navigation([start, *pages]).run()


main()
