"""A webhook receiver on loopback, as chat programs have one: keeps what it is sent, and answers as it is told to."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

PATH = "/services/T0SECRET/B0SECRET"


@dataclass
class Webhook:
    """Its address, what came, and with which status it answers next; 200 when nothing is left."""

    url: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    calls: int = 0

    @property
    def texts(self) -> list[str]:
        """What people would read."""
        return [message["text"] for message in self.messages]


@contextmanager
def receiving() -> Iterator[Webhook]:
    """A receiver at work."""
    found = Webhook()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.calls += 1
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = found.answers.pop(0) if found.answers else 200
            if status == 200 and self.path == PATH:
                assert self.headers["Content-Type"] == "application/json"
                found.messages.append(json.loads(body))
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: Any) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.url = f"http://127.0.0.1:{server.server_address[1]}{PATH}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield found
        server.shutdown()
