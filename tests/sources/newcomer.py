"""What a newcomer has: a database of 20 tables, a paged API that wants a token, files with decimal commas."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import psycopg

TOKEN = "s3same-open"
TICKETS = 250
OTHERS = (
    "branches", "brands", "carts", "categories", "contacts", "coupons", "invoices", "order_lines", "payments", "prices",
    "refunds", "returns", "shipments", "stock", "suppliers", "warehouses",
)  # fmt: skip


def fill_database(url: str) -> None:
    """20 tables, one without a key, with types of every kind, and a view."""
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        connection.execute(
            """
            CREATE TYPE state AS ENUM ('new', 'paid');
            CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL, country text NOT NULL, tags text[],
                meta jsonb, token uuid DEFAULT gen_random_uuid(), updated_at timestamptz NOT NULL);
            CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint NOT NULL REFERENCES customers,
                amount numeric(12, 2) NOT NULL, state state NOT NULL, ordered_at timestamptz NOT NULL,
                updated_at timestamptz NOT NULL);
            CREATE TABLE documents (id bigint PRIMARY KEY, content bytea, updated_at timestamp);
            CREATE TABLE notes (note text);
            CREATE VIEW totals AS SELECT sum(amount) AS total FROM orders;
            INSERT INTO customers SELECT n, 'Customer ' || n, (ARRAY['AT', 'CH', 'DE'])[n % 3 + 1], '{a,b}', '{"x": 1}',
                gen_random_uuid(), '2024-03-01' FROM generate_series(1, 300) n;
            INSERT INTO orders SELECT n, n % 300 + 1, n / 4.0, 'paid', '2024-01-01'::timestamptz + n * interval '1 h',
                '2024-03-01'::timestamptz + n * interval '1 minute' FROM generate_series(1, 2000) n;
            INSERT INTO documents VALUES (1, '\\x01', '2024-01-01');
            INSERT INTO notes VALUES ('a'), ('a');
            """
        )
        for name in OTHERS:
            connection.execute(
                f"CREATE TABLE {name} (id int PRIMARY KEY, name text, updated_at timestamptz NOT NULL DEFAULT now());"  # type: ignore[arg-type]
                f"INSERT INTO {name} SELECT n, 'x' || n FROM generate_series(1, 100) n"
            )


def write_exports(folder: Path) -> None:
    """Three months of what branches took, as a German till writes it."""
    folder.mkdir()
    for month in (1, 2, 3):
        lines = [
            f"{n % 28 + 1:02}.{month:02}.2024;{('AT', 'CH', 'DE')[n % 3]};Filiale {n % 7};1.{n:03},50"
            for n in range(100, 400)
        ]
        text = "Tag;Land;Filiale;Umsatz\n" + "\n".join(lines) + "\n"
        (folder / f"Umsatz_2024-{month:02}.csv").write_text(text, encoding="latin-1")


class Api(http.server.BaseHTTPRequestHandler):
    """Tickets in pages of a hundred, for whoever knows the token."""

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        page = int(dict(parse_qsl(address.query)).get("page", 1))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer({"error": "who are you?"}, 401)
        elif address.path != "/v1/tickets":
            self.answer({}, 404)
        else:
            rows = [
                {"id": n, "customer_id": n % 300 + 1, "subject": f"Ticket {n}", "opened_at": "2024-02-01T08:00:00Z"}
                for n in range(1, TICKETS + 1)
            ]
            self.answer({"data": rows[page * 100 - 100 : page * 100], "total_pages": 3})

    def answer(self, body: Any, status: int = 200) -> None:
        """As JSON."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def serve_api() -> Iterator[str]:
    """The address that stands for `https://api.example.com`."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
