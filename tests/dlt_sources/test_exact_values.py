"""A value of any type, in any format, arrives as it is or its file is refused: nothing is rounded or cut in silence."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlt_sources.landing.tables import Column
from dlt_sources.landing.typed_parquet import TypedParquet, UnusableFile, connect
from tests.dlt_sources.test_typed_parquet import DATASET

ONE = replace(DATASET, columns=(Column("id", "BIGINT", "Number.", required=True),))
DAY_NS = 86_400 * 10**9
WIDEST = 1 << 62
Kind = tuple[pa.DataType, st.SearchStrategy[Any]]


class Reading:
    """Reads a file's bytes as a load does."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.number, self.connection = folder, 0, connect(folder)

    def column(self, content: bytes, ending: str, declared: str | None = None) -> pa.ChunkedArray | str:
        """The values of the column `v` that arrived; the sentence of a refusal."""
        self.number += 1
        path, target = self.folder / f"landed{self.number}.{ending}", self.folder / f"out{self.number}"
        path.write_bytes(content)
        known = ONE.table.column_types | ({"v": declared} if declared else {})
        dataset = replace(ONE, columns=(*ONE.columns, Column("v", declared, "Value."))) if declared else ONE
        try:
            TypedParquet(self.connection, dataset, known, {}, "load").write(path, target, "file")
        except UnusableFile as error:
            return str(error)
        return pq.read_table(target, columns=["source_row", "v"]).sort_by("source_row").column("v")


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reading]:
    reading = Reading(tmp_path_factory.mktemp("exact"))
    yield reading
    reading.connection.close()


def parquet(kind: pa.DataType, values: list[Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    table = pa.table({"id": range(len(values)), "v": pa.array(values, kind)})
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def integers(kind: pa.DataType, bits: int, *, signed: bool) -> Kind:
    low = -(1 << (bits - 1)) if signed else 0
    high = (1 << (bits - 1 if signed else bits)) - 1
    return kind, st.integers(low, high) | st.sampled_from([low, high])


def decimals(kind: pa.DataType) -> Kind:
    most = 10**kind.precision - 1
    return kind, (st.integers(-most, most) | st.sampled_from([most, -most])).map(
        lambda digits: Decimal((digits < 0, tuple(map(int, str(abs(digits)))), -kind.scale))
    )


def times(unit: str, zone: str | None, most: int) -> Kind:
    return pa.timestamp(unit, zone), st.integers(-most, most) | st.integers(-(10**6), 10**6)


FLOAT32 = st.floats(width=32)
FLAT: list[Kind] = [
    *(integers(getattr(pa, f"int{bits}")(), bits, signed=True) for bits in (8, 16, 32, 64)),
    *(integers(getattr(pa, f"uint{bits}")(), bits, signed=False) for bits in (8, 16, 32, 64)),
    (pa.float32(), FLOAT32),
    (pa.float64(), st.floats()),
    *(decimals(pa.decimal128(p, s)) for p, s in ((1, 0), (9, 9), (18, 4), (38, 0), (38, 38), (38, 10))),
    *(decimals(pa.decimal256(p, s)) for p, s in ((5, 2), (38, 2), (39, 2), (76, 30))),
    (pa.date32(), st.integers(-800_000, 3_000_000)),
    times("s", None, 4 * 10**11),
    times("ms", "UTC", 4 * 10**14),
    times("us", None, WIDEST // 10),
    times("us", "Europe/Berlin", WIDEST // 10),
    times("ns", None, WIDEST),
    times("ns", "UTC", WIDEST),
    (pa.time32("ms"), st.integers(0, 86_400_000 - 1)),
    (pa.time64("us"), st.integers(0, DAY_NS // 1000 - 1)),
    (pa.time64("ns"), st.integers(0, DAY_NS - 1)),
    (pa.duration("ns"), st.integers(-WIDEST, WIDEST)),
    (pa.bool_(), st.booleans()),
    (pa.string(), st.text(st.characters(exclude_categories=["Cs"]), max_size=9)),
    (pa.large_string(), st.text(st.characters(exclude_categories=["Cs"]), max_size=9)),
    (pa.dictionary(pa.int8(), pa.string()), st.sampled_from(["a", "é", "NaN"])),
    (pa.binary(), st.binary(max_size=5)),
]


def nested(inner: Kind) -> st.SearchStrategy[Kind]:
    kind, values = inner
    maybe = st.none() | values
    return st.sampled_from(
        [
            (pa.struct({"NaN": kind, "b": pa.string()}), st.fixed_dictionaries({"NaN": maybe, "b": st.just('N"aN')})),
            (pa.list_(kind), st.lists(maybe, max_size=3)),
            (
                pa.map_(pa.string(), kind),
                st.dictionaries(st.sampled_from(["x", "Inf"]), maybe).map(lambda d: [*d.items()]),
            ),
        ]
    )


def same(kind: pa.DataType, there: Any, came: Any, came_as: pa.DataType | None) -> bool:
    """Whether what came is the value; `came_as` is the type that it came in, None inside JSON."""
    if there is None or came is None:
        return there is came or (there == "" and came_as is not None)
    if pa.types.is_struct(kind):
        return all(same(field.type, there[field.name], came[field.name], None) for field in kind)
    if pa.types.is_map(kind):
        return all(same(kind.item_type, value, came[key], None) for key, value in there)
    if pa.types.is_list(kind):
        return all(same(kind.value_type, *pair, None) for pair in zip(there, came, strict=True))
    if pa.types.is_floating(kind):
        printed = float(str(np.float32(there))) if kind == pa.float32() else there  # 12.65, not 12.649999618530273
        return float(came) in (there, printed)
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind) or pa.types.is_duration(kind):
        return Fraction(came) == Fraction(there)
    if pa.types.is_time(kind):
        return str(came) == clock(kind, there)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        moment = instant(kind, there)
        if came_as is not None and not pa.types.is_string(came_as):
            return instant(came_as, came) == moment
        return str(came).startswith(str(np.datetime64(moment, "ns")).replace("T", " ")[:10]) or abs(moment) > 9e18
    if pa.types.is_binary(kind):
        return bytes.fromhex("".join(one.encode().hex() for one in came)).decode() == duckdb_text(there)
    if pa.types.is_boolean(kind):
        return str(came).lower() == str(there).lower()
    return bool(there == came)


def instant(kind: pa.DataType, number: int) -> int:
    """Nanoseconds since 1970."""
    if pa.types.is_date(kind):
        return number * DAY_NS
    return number * {"s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}[kind.unit]


def clock(kind: pa.DataType, number: int) -> str:
    nanos = number * {"ms": 10**6, "us": 1000, "ns": 1}[kind.unit]
    seconds, rest = divmod(nanos, 10**9)
    shown = (datetime.min + timedelta(seconds=seconds)).strftime("%H:%M:%S")
    return shown + (f".{rest:09}".rstrip("0") if rest else "")


def duckdb_text(value: bytes) -> str:
    return "".join(chr(b) if 32 <= b < 127 and chr(b) not in "\\'\"" else f"\\x{b:02X}" for b in value)


def raw(array: pa.ChunkedArray) -> list[Any]:
    """Arrow's values, times as their numbers."""
    kind = array.type
    if pa.types.is_timestamp(kind):
        return array.cast(pa.int64()).to_pylist()
    return array.cast(pa.int32()).to_pylist() if pa.types.is_date(kind) else array.to_pylist()


def strict_json(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON: {text}")

    return json.loads(text, parse_float=Fraction, parse_constant=refuse)


@given(data=st.data())
def test_any_parquet_value_arrives_exactly_or_its_file_is_refused(reading: Reading, data: st.DataObject) -> None:
    kind, values = data.draw(st.sampled_from(FLAT), label="type")
    is_nested = data.draw(st.booleans()) and not pa.types.is_dictionary(kind) and not pa.types.is_binary(kind)
    if is_nested:
        kind, values = data.draw(nested((kind, values)))
    there = data.draw(st.lists(st.none() | values, min_size=1, max_size=4))
    came = reading.column(parquet(kind, there), "parquet")
    if isinstance(came, str):
        assert came
        return
    is_text = pa.types.is_string(came.type)
    for value, arrived in zip(there, raw(came), strict=True):
        if is_nested and arrived is not None:
            arrived = strict_json(arrived)
        assert same(kind, value, arrived, None if is_nested else came.type), (kind, value, arrived, is_text)


DIGITS = st.text("0123456789", min_size=1, max_size=22)
NUMBER = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["", "-", "+"]),
        DIGITS | st.sampled_from(["9007199254740993", "1234567890123456789", "0", "007", "1_000"]),
        st.just("") | DIGITS.map(lambda text: f".{text}"),
        st.sampled_from(["", "", "", "e2", "E+3", "e-7", "e-400"]),
    ),
)
MOMENT = st.builds(
    lambda at, digits, zone: at.strftime("%Y-%m-%d %H:%M:%S") + digits + zone,
    st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)),
    st.just("") | st.text("0123456789", min_size=1, max_size=9).map(lambda text: f".{text}"),
    st.sampled_from(["", "Z", "+02"]),
)
NUMBERS = [
    None,
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "DOUBLE",
    "DECIMAL(12,2)",
    "DECIMAL(38,10)",
    "DECIMAL(20,15)",
    "VARCHAR",
]


def csv_file(values: list[str]) -> bytes:
    return ("id,v\n" + "".join(f"{number},{value}\n" for number, value in enumerate(values))).encode()


def number_of(text: str) -> Decimal:
    return Decimal(text.replace("_", ""))


def prints(number: float, text: str) -> bool:
    """Whether a DOUBLE prints so, with as many digits as there are."""
    digits = len(number_of(text).normalize().as_tuple().digits)
    return Decimal(f"{number:.{digits - 1}e}") == number_of(text)


@given(values=st.lists(NUMBER, min_size=1, max_size=3), declared=st.sampled_from(NUMBERS))
def test_any_number_in_csv_arrives_with_its_digits_or_its_file_is_refused(
    reading: Reading, values: list[str], declared: str | None
) -> None:
    came = reading.column(csv_file(values), "csv", declared)
    if isinstance(came, str):
        assert declared and declared != "VARCHAR", "text takes everything"
        assert " is no " in came
        return
    for text, value in zip(values, came.to_pylist(), strict=True):
        if isinstance(value, float):
            assert prints(value, text), (text, value)
            assert declared or not re.match("[+-]?0[0-9]", text)
        else:
            assert value == text if isinstance(value, str) else number_of(text) == value


@given(text=MOMENT, declared=st.sampled_from(["TIMESTAMP", "TIMESTAMPTZ", "TIME", "DATE", None]))
def test_any_time_in_csv_arrives_to_its_last_digit_or_its_file_is_refused(
    reading: Reading, text: str, declared: str | None
) -> None:
    value = text[11:].rstrip("Z").removesuffix("+02") if declared == "TIME" else text
    came = reading.column(csv_file([value]), "csv", declared)
    if isinstance(came, str):
        shown = text.rstrip("Z").removesuffix("+02").partition(".")[2]
        assert declared == "DATE" or len(shown.rstrip("0")) > 6, (text, came)
        return
    arrived = came[0].as_py()
    head, _, digits = text.rstrip("Z").removesuffix("+02").partition(".")
    wanted = datetime.fromisoformat(head) + timedelta(microseconds=int(digits[:6].ljust(6, "0")))
    assert declared is None or not digits[6:].strip("0")
    if declared == "TIME":
        assert arrived == wanted.time()
    elif declared is None:
        assert arrived == text
    elif declared == "DATE":
        assert wanted.time() == time() and arrived == wanted.date()
    else:
        wanted -= timedelta(hours=2 * text.endswith("+02"))
        assert arrived.replace(tzinfo=UTC) == wanted.replace(tzinfo=UTC)


@pytest.mark.parametrize("declared", [None, "TIMESTAMP", "VARCHAR"])
@pytest.mark.parametrize("zone", [None, "UTC"])
@pytest.mark.parametrize("deprecated", [False, True])
def test_nanoseconds_are_refused_with_their_row_wherever_they_hide(
    reading: Reading, declared: str | None, zone: str | None, deprecated: bool
) -> None:
    options = {"use_deprecated_int96_timestamps": deprecated, "version": "2.6"}
    sound = [1_704_103_200_123_456_000, None, -62_135_596_800 * 10**6, 253_402_300_799 * 10**6]
    kind = pa.timestamp("ns", zone)
    assert not isinstance(reading.column(parquet(kind, sound, **options), "parquet", declared), str)
    said = reading.column(parquet(kind, [*sound, 1_704_103_200_000_000_001], **options), "parquet", declared)
    if isinstance(said, str):
        assert said.startswith("row 5, column ") and "times are kept to the microsecond" in said
    else:  # as text all digits are there
        assert (declared, zone, deprecated) == ("VARCHAR", None, False) and said[4].as_py().endswith(".000000001")


def test_years_beyond_64_bits_of_nanoseconds_are_no_nanoseconds(reading: Reading) -> None:
    years = pa.array([datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999)], pa.timestamp("us"))
    buffer = io.BytesIO()
    pq.write_table(pa.table({"id": [1, 2], "v": years}), buffer, use_deprecated_int96_timestamps=True)
    came = reading.column(buffer.getvalue(), "parquet")
    assert not isinstance(came, str) and came.to_pylist() == years.to_pylist()


def test_a_decimal_with_more_digits_than_can_be_read_is_named(reading: Reading) -> None:
    wide = parquet(pa.decimal256(40, 2), [Decimal("1.50")])
    for declared in (None, "DOUBLE", "VARCHAR"):
        assert reading.column(wide, "parquet", declared) == "column v: DECIMAL(40,2) has more than 38 digits"
    inside = parquet(pa.list_(pa.decimal256(40, 2)), [[Decimal("1.50")]])
    assert reading.column(inside, "parquet") == "column v: DECIMAL(40,2) has more than 38 digits"


def test_nested_nan_is_refused_and_the_word_in_a_text_is_not(reading: Reading) -> None:
    kind = pa.struct({"a": pa.float64(), "b": pa.string()})
    said = reading.column(parquet(kind, [{"a": 1.5, "b": "NaN"}, {"a": float("nan"), "b": ""}]), "parquet")
    assert said.startswith("row 2, column v: ") and said.endswith("can't be written as JSON")
    came = reading.column(parquet(kind, [{"a": 1.5, "b": '": NaN, Infinity'}]), "parquet")
    assert json.loads(came[0].as_py()) == {"a": 1.5, "b": '": NaN, Infinity'}


def test_long_numbers_that_nobody_declared_keep_their_digits(reading: Reading) -> None:
    ids = reading.column(csv_file(["9007199254740993", "1234567890123456789", "1234567890123456790"]), "csv")
    assert ids.to_pylist() == [9007199254740993, 1234567890123456789, 1234567890123456790]
    for long in ("0.1234567890123456789", "99999999999999999999", "1.5e-400"):
        assert reading.column(csv_file([long]), "csv").to_pylist() == [long]
    assert reading.column(csv_file(["0.1", "40.700000000000003", "1e-05"]), "csv").to_pylist() == [0.1, 40.7, 1e-5]
    said = reading.column(csv_file(["9007199254740993"]), "csv", "DOUBLE")
    assert said == "row 1, column v: '9007199254740993' is no DOUBLE: it would become 9007199254740992.0 (line 2)"
