"""A page is what its file says, or one sentence; no file gives anything else."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any

import duckdb
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as some

from lakehouse.dashboard import charts
from lakehouse.dashboard.page_files import CHARTS, KEYS, LONGEST, Page, PageError, parse
from lakehouse.query.client.result import Column
from lakehouse.settings import PROJECT_ROOT
from tests.dashboard.conftest import DEMO_PAGES

QUERY = "```sql q\nSELECT 1 AS a\n```\n"
PAGE = f"""# Sales in $

Some *text*.

{QUERY}
```figures
units = {{ a = "£" }}
```

```filter period
options = ["day", "week"]
```

```sql by_period
SELECT DATE_TRUNC($period, d) AS begins, '$no' AS "$no" -- $x
FROM t /* $x
*/
```

```chart
kind = "bar"
```

```python
# an example, and no block
```

```table q
```
Between.

```sql
SELECT 2
```
"""


def read(text: str) -> Page | str:
    """The page, or what is wrong with it."""
    try:
        return parse("sales", text)
    except PageError as error:
        return str(error)


def groups(text: str) -> list[tuple[bool, str]]:
    return [(changes, " ".join(b.kind for b in blocks)) for blocks, changes in parse("sales", text).groups()]


def test_a_page_is_its_blocks_and_what_changes_with_a_filter_is_drawn_alone() -> None:
    page = parse("sales", PAGE.replace("\n", "\r\n"))
    assert page == parse("sales", PAGE) and page.title == "Sales in $"
    assert groups(PAGE) == [
        (False, "text sql figures"),
        (True, "filter sql chart"),
        (False, "text table text sql chart"),  # the last query is drawn, though nothing asks for it
    ]
    assert [block.query for block in page.blocks if block.query] == ["q", "by_period", "q", "of line 35"]
    queries = {block.name: block.parameters for block in page.blocks if block.kind == "sql"}
    assert queries == {"q": set(), "by_period": {"period"}, "of line 35": set()}


def test_filters_that_choose_for_each_other_are_one_group() -> None:
    text = (
        f'{QUERY}```filter one\noptions = "q"\n```\n```sql r\nSELECT $one\n```\n```filter two\noptions = "r"\n```\n'
        "```filter three\nmin = 1\nmax = 2\n```\n```sql s\nSELECT $two, $three\n```\nText\n"
    )
    assert groups(text) == [(False, "sql"), (True, "filter sql filter filter sql chart"), (False, "text")]


@pytest.mark.parametrize(("text", "sentence"), [
    ("Text\n```sql a\nSELECT 1", "line 2, sql: it has no end; close it with a line ```."),
    ("```sql a b\n```", "line 1, sql: a b is no name; one is made of letters, digits and _."),
    ("```sql a\n\n```", "line 1, sql a: it is empty; write a SELECT."),
    (QUERY + QUERY, "line 4, sql q: there is a query of this name above; rename one of them."),
    ("```sql a\nSELECT $b\n```", "line 1, sql a: no filter above it gives $b; there is none to name."),
    ("```chart\n```", "line 1, chart: no query stands above it; write one, ```sql NAME."),
    (f"{QUERY}```chart qq\n```", "line 4, chart qq: no query qq stands above it; write q."),
    (f"{QUERY}```chart\nkind = 'pie'\n```", "line 4, chart: pie is no kind of chart; name one of line, "),
    (f"{QUERY}```chart\ntitle = 'a'\ncolour = 'a'\n```", "line 6, chart: colour is no key of a chart; write color."),
    (f"{QUERY}```chart\ntitle = 'a'\nx = a\n```", "line 6, chart: Invalid value; write TOML, as title = "),
    (f"{QUERY}```chart\ny = [1]\n```", "line 5, chart: y is not a text or a list; write it as one, of texts."),
    (f"{QUERY}```chart\nbeside = 1\n```", "line 5, chart: beside is not true or false; "),
    ("```filter\n```", "line 1, filter: it has no name; write ```filter NAME, and $NAME in the SQL below."),
    ("```filter a\n```", "line 1, filter a: it is chosen from one thing; give options, or dates, or min and max."),
    ("```filter a\nmin = 1\n```", "line 1, filter a: it is chosen from one thing; "),
    ("```filter a\nmin = 2\nmax = 1\n```", "line 1, filter a: min, default and max are numbers that grow; put them so"),
    ("```filter a\nmin = nan\nmax = 1\n```", "line 1, filter a: min, default and max are numbers"),
    ("```filter a\noptions = [true]\n```", "line 1, filter a: options are texts or numbers; list one at least."),
    ("```filter a\noptions = ['b']\ndefault = 'c'\n```", "line 1, filter a: its default is none of its options; "),
    ("```filter a\noptions = ['b']\n```\n" * 2, "line 4, filter a: $a is another filter's; rename one of them."),
    ("a\n\ufffd", "line 2, text: it is no UTF-8 here; save the file as UTF-8."),
    ("a" * (LONGEST + 1), "line 1, file: it has more than 100,000 characters; make two pages of it."),
    (QUERY.replace(" q", "") * 101, "line 1, file: it has more than 200 blocks; make two pages of it."),
])  # fmt: skip
def test_a_faulty_page_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(PageError) as raised:
        parse("sales", text)
    assert str(raised.value).startswith(f"pages/sales.md, {sentence}")
    assert str(raised.value).count(".\n") == 0 and str(raised.value).endswith(".")


@pytest.mark.parametrize("name", ["Sales", "a b", "", "tables", "../x", "ä", "a" * 101])
def test_a_file_whose_name_is_no_address_is_no_page(name: str) -> None:
    with pytest.raises(PageError, match="rename the file"):
        parse(name, "text")


PIECES = ["```", "````", "sql", "chart", "filter", "figures", "table", " ", "\n", "\n", "q", "$q", "'", '"', "/*", "--",
          "$$", "[", "]", "{", "}", "=", ",", "1", "-1", "nan", "inf", "1e999", "1979-05-27", "true", "\x00", "\x0b",
          "\u2028", "# ", *(key for keys in KEYS.values() for key in keys), *CHARTS]  # fmt: skip


@given(some.one_of(some.text(), some.lists(some.sampled_from(PIECES), max_size=60).map("".join)))
def test_no_text_gives_anything_but_a_page_or_a_sentence(text: str) -> None:
    page = read(text)
    if isinstance(page, str):
        assert page.startswith("pages/sales.md, line ")
        return
    assert tuple(block for blocks, _ in page.groups() for block in blocks) == page.blocks
    for block in page.blocks:
        with suppress(PageError):
            page.check(block, ["a"])


@pytest.mark.parametrize("begin", ["'", '"', "/*", "$$", "--", "`" * 3, "#", " #", "`` `"])
def test_a_long_page_is_read_at_once(begin: str) -> None:
    text = begin * (LONGEST // len(begin))
    for whole in (text, f"```sql q\n{text}\n```", f"{QUERY}```chart\n{text}\n```"):
        page = read(whole[:LONGEST])
        assert isinstance(page, Page) or len(page) < 1_000


def test_values_for_toml_that_lie_too_deep() -> None:
    with pytest.raises(PageError, match="line 4, chart: "):
        parse("sales", f"{QUERY}```chart\nx = {'[' * 30_000}\n```")


# ------------------------------------------------------------------------------------------------ what is drawn


def answer(sql: str) -> tuple[pd.DataFrame, list[Column]]:
    relation = duckdb.sql(sql)
    columns = [Column(name, str(kind)) for name, kind in zip(relation.columns, relation.types, strict=True)]
    return relation.to_arrow_table().to_pandas(), columns


def drawn(sql: str, **options: Any) -> dict[str, Any]:
    """What is drawn of a query's answer, with its data as `values`."""
    chart = charts.chart(*answer(sql), options)
    if chart is None:
        return {}
    found: dict[str, Any] = chart.to_dict()
    (found["values"],) = found.pop("datasets").values()
    return found


@pytest.mark.parametrize(("sql", "mark", "x", "y"), [
    ("SELECT DATE '2020-01-01' AS d, 1.5::DECIMAL(9,2) AS v, 'a' AS name", "line", "D", "V"),
    ("SELECT 'a' AS name, 7 AS zone_id, 3 AS sold, 4.5::DECIMAL(9,2) AS paid", "bar", None, "Sold"),
    ("SELECT 7 AS zone_id, 3 AS sold", "bar", None, "Sold"),
    ("SELECT 1.5 AS height, 3 AS weight", "scatter", "Height", "Weight"),
    ("SELECT 1 AS latitude, 2 AS longitude", "map", None, None),
    ("SELECT 'a' AS name, 'b' AS other", None, None, None),
])  # fmt: skip
def test_columns_choose_their_chart(sql: str, mark: str, x: str, y: str) -> None:
    found = drawn(sql)
    marks = {"scatter": "circle", "map": "circle"}
    assert found.get("mark", {}).get("type") == marks.get(mark, mark)
    if y:
        shown = found["encoding"]["x"]["title"] if mark == "bar" else found["encoding"]["y"]["title"]
        assert shown == y


def test_a_period_without_rows_is_a_gap_and_moments_that_are_no_series_are_joined() -> None:
    month = "SELECT DATE '2020-01-01' + INTERVAL (i) MONTH AS m, 1 AS v FROM range(12) t(i) WHERE i <> 5"
    values = drawn(month)["values"]
    assert len(values) == 12 and [row["y"] for row in values].count(None) == 1
    assert drawn(month)["encoding"]["x"]["axis"]["format"] == "%b %Y"
    assert values[0]["x"] == "2020-01-01T00:00:00+00:00", "else a browser takes it for its own zone's midnight"
    assert (values[0]["at"], drawn(month)["encoding"]["x"]["scale"]["type"]) == ("Jan 2020", "utc")
    seldom = "SELECT DATE '2020-01-01' + (i * i * 5)::INT AS day, 1 AS v FROM range(9) t(i)"
    assert len(drawn(seldom)["values"]) == 9
    named = "SELECT DATE '2020-01-01' + (i % 3)::INT AS d, 1 AS v, 'name ' || (i // 3) AS n FROM range(6) t(i)"
    assert "color" in drawn(named)["encoding"]


@pytest.mark.parametrize(("moments", "period"), [
    ([date(2020, 1, 1), date(2022, 1, 1)], "YS"), ([date(2020, 1, 1), date(2020, 7, 1)], "QS"),
    ([date(2020, 1, 1), date(2020, 3, 1)], "MS"), ([date(2020, 1, 6), date(2020, 1, 20)], "W-MON"),
    ([date(2020, 1, 6), date(2020, 1, 7)], "D"), ([datetime(2020, 1, 6, 7, tzinfo=UTC)], "h"),
    ([datetime(2020, 1, 6, 7, 30, tzinfo=UTC)], "min"), ([datetime(2020, 1, 6, 7, 30, 5, tzinfo=UTC)], ""), ([], ""),
])  # fmt: skip
def test_periods_are_the_longest_that_fit(moments: list[Any], period: str) -> None:
    assert charts.period_of(pd.Series(pd.to_datetime(moments, utc=True)).dt.tz_localize(None)) == period


@pytest.mark.parametrize(("options", "words"), [
    ({"y": "name"}, "name is no number"), ({"kind": "map"}, "a map needs columns latitude and longitude"),
    ({"y": ["v", "w"], "color": "name"}, "several y have each their color"),
])  # fmt: skip
def test_what_can_t_be_drawn_is_said(options: dict[str, Any], words: str) -> None:
    with pytest.raises(charts.DrawingError, match=words):
        drawn("SELECT DATE '2020-01-01' AS d, 1 AS v, 2 AS w, 'a' AS name", **options)


KINDS = ["NULL::DATE", "DATE '9999-12-31'", "TIMESTAMP '2020-01-01 10:00:01'", "TIMESTAMPTZ '2020-01-01 10:00:01+02'",
         "NULL::DOUBLE", "'nan'::DOUBLE", "'inf'::DOUBLE", "1.5::DECIMAL(38, 9)", "1e300::DOUBLE", "-7::HUGEINT",
         "'a.b[c]:Q'", "NULL::VARCHAR", "true", "[1, 2]", "{'a': 1}", "TIME '10:00:00'", "'x'::BLOB",
         "INTERVAL 3 DAY"]  # fmt: skip


@given(some.lists(some.sampled_from(KINDS), min_size=1, max_size=4), some.integers(0, 3),
       some.sampled_from([None, *CHARTS]))  # fmt: skip
def test_no_types_give_anything_but_a_chart_or_half_a_sentence(kinds: list[str], rows: int, kind: str | None) -> None:
    names = ["a", "b.c:Q", "latitude", "longitude"]
    columns = ", ".join(f'{value} AS "{name}"' for value, name in zip(kinds, names, strict=False))
    sql = f"SELECT {columns} FROM range({rows})"
    charts.table(*answer(sql)).to_html()
    with suppress(charts.DrawingError):
        drawn(sql, **({"kind": kind} if kind else {}))


@pytest.mark.parametrize(("value", "unit", "text"), [
    (1234, "", "1,234"), (1234.56, "£", "£1,235"), (-5.5, "$", "-$5.50"), (0.1234, "", "0.123"), (12.0, "km", "12 km"),
    (None, "$", "–"), (float("nan"), "", "–"), ("a", "$", "a"), (True, "", "True"), (float("inf"), "", "inf"),
])  # fmt: skip
def test_numbers_are_written_alike(value: object, unit: str, text: str) -> None:
    assert charts.number(value, unit) == text


def test_the_page_in_the_documentation_is_whole() -> None:
    text = (PROJECT_ROOT / "docs" / "pages.md").read_text().split("````")[1].removeprefix("markdown\n")
    page = parse("revenue", text)
    assert (page.title, [changes for _, changes in page.groups()]) == ("Revenue", [False, True])


def test_the_demo_s_pages_are_right() -> None:
    assert {parse(file.stem, file.read_text()).title for file in DEMO_PAGES.glob("*.md")} == {
        "Collisions", "Food prices", "Pick-ups", "Revenue"
    }  # fmt: skip
