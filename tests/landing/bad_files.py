"""Files that nobody can use, as they come from outside: each with what its refusal must say."""

from __future__ import annotations

import gzip
import io
import zipfile
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.landing.conftest import EVENTS, event

EVENT_AS_JSON = '{"event_id": 1, "event_type": "refund", "event_timestamp": "2024-01-01T10:00:00Z", "revenue": -1.50}\n'
NEW = EVENTS.strip() + ",{}\n"


def parquet(rows: int = 100, **more: Any) -> bytes:
    """Events as a Parquet file; `more` are further columns."""
    columns: dict[str, Any] = {
        "event_id": list(range(rows)),
        "event_type": ["purchase"] * rows,
        "event_timestamp": [datetime(2024, 1, 1)] * rows,
        "revenue": ["1.00"] * rows,
        "country": [f"Country {number}" for number in range(rows)],
        **more,
    }
    buffer = io.BytesIO()
    pq.write_table(pa.table(list(columns.values()), names=list(columns)), buffer, write_page_checksum=True)
    return buffer.getvalue()


def twice(first: str, second: str) -> bytes:
    """A Parquet file with two such columns."""
    buffer = io.BytesIO()
    pq.write_table(pa.table([[1], [2], ["purchase"]], names=[first, second, "event_type"]), buffer)
    return buffer.getvalue()


def workbook() -> bytes:
    """What Excel saves, so far as its beginning goes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>" * 100)
    return buffer.getvalue()


def bad_files() -> dict[str, tuple[bytes | str, str]]:
    """Name -> content, and a part of the sentence."""
    sound = parquet()
    middle = len(sound) // 2
    many = ",".join(f"c{number}" for number in range(10_000))
    return {
        "cut_events.parquet": (sound[:middle], "no readable PARQUET file"),
        "tail_events.parquet": (sound[-200:], "no readable PARQUET file"),
        "flipped_events.parquet": (
            sound[:200] + bytes([sound[200] ^ 4]) + sound[201:],
            "row group 0, column event_id, page 0: its checksum is wrong",
        ),
        "nothing_events.parquet": (b"", "no readable PARQUET file"),
        "csv_events.parquet": (EVENTS + event(1), "no readable PARQUET file"),
        "twice_events.parquet": (twice("event_id", "event_id"), "column 2, 'event_id', is there twice"),
        "case_events.parquet": (twice("event_id", "EVENT_ID"), "column 2, 'EVENT_ID', is there twice"),
        "counter_events.parquet": (
            parquet(file_row_number=list(range(100))),
            "has a name that the reader needs itself",
        ),
        "wide_events.parquet": (parquet(1, **{f"c{n}": [1] for n in range(2_000)}), "2005 columns"),
        "pdf_events.csv": (b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\n", "it is a PDF, not CSV"),
        "excel_events.csv": (workbook(), "it is a ZIP archive or an Excel workbook"),
        "page_events.csv": ("<!DOCTYPE html><html><body>Log in</body></html>\n", "it is a web page"),
        "bomb_events.csv": (gzip.compress(b"0" * 10_000_000), "it is compressed with gzip"),
        "cut_events.csv.gz": (gzip.compress(EVENTS.encode())[:-9], "it can't be unpacked"),
        "cut_events.json": ('[{"event_id": 1', "line 1: no readable JSON"),
        "csv_events.xlsx": (EVENTS, "no readable workbook"),
        "document_events.docx": (workbook(), "the name ends in none of .csv, .json"),
        "utf16_events.csv": ((EVENTS + event(1)).encode("utf-16"), "it is UTF-16 text; wanted is UTF-8"),
        "latin_events.csv": (
            (EVENTS + event(1)).encode() + event(2).replace("France", "Perú").encode("latin-1"),
            "line 3: byte 170 of the file is no UTF-8 text",
        ),
        "columns_events.csv": (NEW.format(many), "10008 columns (event_id, user_id, event_type, …)"),
        "no_line_events.csv": ("event_id," + "x" * 3_000_000, "line 1: no line ends within the first 1 MB"),
        "long_line_events.csv": (EVENTS + event(1) + "2," + "x" * 3_000_000, "line 3 is longer than 2,000,000 bytes"),
        "nul_events.csv": (EVENTS + event(1) * 2000 + event(2).replace("France", "Fr\0"), "row 2001, column country"),
        "nul_tail_events.csv": (EVENTS + event(1) + "\0" * 5000, "it holds NUL bytes"),
        "type_events.csv": (
            EVENTS + event(1) * 3000 + event(2, "many"),
            "row 3001, column revenue: 'many' is no DECIMAL",
        ),
        "after_a_long_value_events.csv": (
            EVENTS + event(1).replace("France", "F" * 200_000) + event(2, "many"),
            "row 2, column revenue: 'many' is no DECIMAL(12,2) (line 3)",
        ),
        "header_events.csv": (NEW.format("sku"), "column 9, 'sku', is there twice"),
        "header_case_events.csv": (NEW.format("SKU"), "column 9, 'SKU', is there twice"),
        "reserved_events.csv": (NEW.format("_dlt_id"), "has a name that the lake keeps for itself"),
        "semicolon_events.csv": ((EVENTS + event(1)).replace(",", ";"), "no column event_id"),
        "short_events.csv": (EVENTS + event(1) + "2,7\n", "Line: 3"),
        "quote_events.csv": (EVENTS + event(1) + event(2).replace("France", '"France'), "quote"),
        "far_events.csv": (EVENTS + event(1, day="10000-01-01"), "row 1, column event_timestamp"),
        "control_events.csv": (EVENTS + event(1, "\x1b[31m"), r"'\x1b[31m' is no DECIMAL"),
        "events\x1b[31m.csv": (EVENTS + event(1), "the name holds characters that can't be printed"),
        "events\n.csv": (EVENTS + event(1), "the name holds characters that can't be printed"),
    }


def odd_files() -> dict[str, tuple[bytes | str, int]]:
    """Name -> content that looks bad and is sound, and its rows."""
    formulas = ["=cmd|' /C calc'!A0", "@SUM(1)", "+1", "-1", "'; DROP TABLE raw.ecommerce__events; --", "$$x$$"]
    values = "".join(event(n).replace("France", f'"{value}"') for n, value in enumerate(formulas))
    header = NEW.format('"x\'); DROP TABLE y; --",select,"a""b",größe,🚕')
    return {
        "formula_events.csv": (EVENTS + values, len(formulas)),
        "sql_header_events.csv": (header + event(1).strip() + ",1,2,3,4,5\n", 1),
        "never_events.csv": (EVENTS + event(1, day="9999-12-31") + event(2, day="0001-01-01"), 2),
        "events';DROP TABLE x;--.csv": (EVENTS + event(1), 1),
        "events ..\"'[red] 🚕.csv": (EVENTS + event(1), 1),
        "🚕" * 60 + "events.csv": (EVENTS + event(1), 1),
        "mac_events.csv": ((EVENTS + event(1) + event(2)).replace("\n", "\r"), 2),
        "good_events.parquet": (parquet(), 100),
        "packed_events.csv.gz": (gzip.compress((EVENTS + event(1)).encode()), 1),
        "lines_events.jsonl": (EVENT_AS_JSON * 2, 2),
    }
