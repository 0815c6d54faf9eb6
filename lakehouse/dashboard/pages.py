"""A team's own page, as its release carries it: its queries asked, its blocks drawn, its faults told in a sentence."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from lakehouse.dashboard import charts
from lakehouse.dashboard.charts import DrawingError, number, titled
from lakehouse.dashboard.page_files import NAME, TAKEN, Block, Page, PageError, parse
from lakehouse.dashboard.service import ask, caption, plain
from lakehouse.query.client.result import Result
from lakehouse.query.engine.problems import QueryError

ICON = ":material/insert_chart:"
BUTTONS = 5
"""So many choices are buttons; more are a list."""
WIDTH = 260
NEWEST = "newest release"
"""That this visitor has seen, in the session's state."""


def streamlit_pages(texts: Mapping[str, str]) -> list[StreamlitPage]:
    """Of a release, by name; each at its name's address. A file without a name that can be one is none."""
    return [
        st.Page(partial(_show, name, text), title=_title_of(name, text), icon=ICON, url_path=name)
        for name, text in sorted(texts.items())
        if NAME.fullmatch(name) and name not in TAKEN
    ]


def _title_of(name: str, text: str) -> str:
    try:
        return _as_money(parse(name, text).title)
    except PageError:
        return name


def _show(name: str, text: str) -> None:
    try:
        page = parse(name, text)
    except PageError as error:
        st.title(plain(name))
        st.error(plain(str(error)))
        return
    st.title(_as_money(page.title))
    for blocks, changes in page.groups():
        (_changing if changes else _draw)(page, blocks)


@st.fragment
def _changing(page: Page, blocks: Sequence[Block]) -> None:
    """A change in a filter runs its group alone, and so asks its queries once."""
    _draw(page, blocks)


def _draw(page: Page, blocks: Sequence[Block]) -> None:
    drawing = _Drawing(page)
    for row in _rows(blocks):
        for place, block in zip(st.columns(len(row)) if len(row) > 1 else [st.container()], row, strict=True):
            with place:
                try:
                    drawing.draw(block)
                except PageError as error:
                    st.error(plain(str(error)))
    if answers := [answer for answer in drawing.answers.values() if answer]:
        caption(*answers)
        newest = max(answer.release for answer in answers)
        before = st.session_state.setdefault(NEWEST, newest)
        st.session_state[NEWEST] = max(newest, before)
        if newest > before:  # the groups that were drawn before follow
            st.rerun()


def _rows(blocks: Sequence[Block]) -> Iterator[list[Block]]:
    """What is drawn, from top to bottom; what stands beside each other together."""
    row: list[Block] = []
    for block in blocks:
        if block.kind == "sql":
            continue
        if row and not block.options.get("beside"):
            yield row
            row = []
        row.append(block)
    if row:
        yield row


class _Drawing:
    """A group of blocks with the values that its filters have now."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.queries = {block.name: block for block in page.blocks if block.kind == "sql"}
        self.answers: dict[str, Result | None] = {}
        self.values: dict[str, Any] = {}
        self.is_away = False
        """Whether the service was asked in vain: it is not asked again."""

    def draw(self, block: Block) -> None:
        """Raises PageError: it can't be drawn so."""
        if block.kind == "text":
            st.markdown(_as_money(block.text))
        elif block.kind == "filter" and not block.query:
            self._choose(block, [])
        else:
            answer = self._answer(block.query)
            if answer is not None:
                {"filter": self._filter, "figures": self._figures, "chart": self._chart, "table": self._table}[
                    block.kind
                ](block, answer)

    def _answer(self, query: str) -> Result | None:
        """Of a query, asked once. None where there is none; why is on the page then, once."""
        if query not in self.answers:
            block, answer = self.queries[query], None
            # Else it was said already what a filter lacks, or that the service doesn't answer.
            if block.parameters <= self.values.keys() and not self.is_away:
                given = {name: self.values[name] for name in sorted(block.parameters)}

                def explained(error: QueryError) -> str:
                    self.is_away = False
                    return str(self.page.fault(block, error.detail, error.line or 0))

                self.is_away = True  # unless it is the SQL that is wrong
                answer = ask(block.text, given, explained=explained)
                self.is_away &= answer is None
            self.answers[query] = answer
        return self.answers[query]

    # -------------------------------------------------------------------------------------------- filters

    def _filter(self, block: Block, answer: Result) -> None:
        table = answer.arrow()
        if "dates" in block.options:
            self._span(block, [value for column in table.columns for value in column.to_pylist()])
        else:
            self._choose(block, list(dict.fromkeys(map(_chosen_by, table.column(0).to_pylist()))))

    def _choose(self, block: Block, found: Sequence[Any]) -> None:
        options, title, key = block.options, _title(block), f"{self.page.name} {block.name}"
        if "min" in options:
            sizes = [options["min"], options["max"], options.get("default", options["min"])]
            whole = all(isinstance(size, int) for size in sizes)
            low, high, default = sizes if whole else map(float, sizes)
            self.values[block.name] = st.number_input(title, low, high, default, key=key, width=WIDTH)
            return
        listed = options["options"] if isinstance(options["options"], list) else found
        choices = [*([None] if "all" in options else []), *(value for value in listed if value is not None)]
        if not choices:
            st.info(plain(f"{title}: there is nothing to choose from in this release."))
            return
        default = options.get("default", choices[0])
        default = default if default in choices else choices[0]

        def label(value: Any) -> str:
            return options["all"] if value is None else number(value)

        if isinstance(options["options"], list) and len(choices) <= BUTTONS:
            names = {label(value): value for value in choices}
            told = st.segmented_control(title, list(names), default=label(default), required=True, key=key)
            self.values[block.name] = names.get(told or "", default)
        else:
            index = choices.index(default)
            self.values[block.name] = st.selectbox(
                title, choices, index, format_func=label, key=key, width=WIDTH
            )  # fmt: skip

    def _span(self, block: Block, found: Sequence[Any]) -> None:
        days = sorted(day for day in map(_day, found) if day)
        if not days:
            raise self.page.fault(block, f"the query {block.query} has no dates; let it SELECT the first and the last")
        low, high = days[0], days[-1]
        told = st.date_input(
            _title(block), (low, high), low, high, key=f"{self.page.name} {block.name} {low} {high}", width=WIDTH
        )
        chosen = told if isinstance(told, tuple) else (told,)  # while only the first is chosen it is alone
        self.values[f"{block.name}_from"] = str(chosen[0] if chosen else low)
        self.values[f"{block.name}_to"] = str(chosen[1] if len(chosen) > 1 else high)

    # -------------------------------------------------------------------------------------------- what is shown

    def _figures(self, block: Block, answer: Result) -> None:
        rows = answer.pandas()
        self.page.check(block, list(rows.columns))
        first = answer.arrow().slice(0, 1).to_pydict()
        values = [column[0] if column else None for column in first.values()]
        with st.container(horizontal=True, gap="medium"):
            for name, value in zip(rows.columns, values, strict=True):
                unit = block.options.get("units", {}).get(name, "")
                st.metric(plain(titled(name)), plain(number(value, unit)), width="content")

    def _chart(self, block: Block, answer: Result) -> None:
        rows = answer.pandas()
        self.page.check(block, list(rows.columns))
        if rows.empty:
            st.info("There is nothing to draw.")
            return
        try:
            drawn = charts.chart(rows, answer.columns, block.options)
        except DrawingError as error:
            raise self.page.fault(block, str(error)) from None
        if drawn is None:
            self._table(block, answer)
        else:
            st.altair_chart(drawn, width="stretch")

    def _table(self, block: Block, answer: Result) -> None:
        rows = answer.pandas()
        self.page.check(block, list(rows.columns))
        if title := block.options.get("title"):
            st.markdown(f"**{plain(title)}**")
        units: Mapping[str, str] = block.options.get("units", {})
        labels = {name: titled(name) for name in rows.columns}
        st.dataframe(charts.table(rows, answer.columns, units), column_config=labels, hide_index=True)


def _as_money(text: str) -> str:
    """A `$` begins an amount: formulas are rarer here."""
    return text.replace("$", "\\$")


def _title(block: Block) -> str:
    return str(block.options.get("title") or titled(block.name))


def _chosen_by(value: Any) -> Any:
    """A value as a parameter can be."""
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)


def _day(value: Any) -> datetime.date | None:
    if isinstance(value, datetime.datetime):
        return value.date()
    return value if isinstance(value, datetime.date) else None
