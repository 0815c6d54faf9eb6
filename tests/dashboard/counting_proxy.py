"""A proxy before the query service: it notes what the dashboard asks, and can be silent as a service that is away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

HOP_BY_HOP = {"connection", "content-encoding", "content-length", "date", "server", "transfer-encoding"}


class CountingProxy(ThreadingHTTPServer):
    """Hands every request on."""

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = target
        self.calls: list[str] = []
        """`POST /query` and the like, in order."""
        self.is_away = False

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: CountingProxy
    protocol_version = "HTTP/1.1"

    def _hand_on(self) -> None:
        if self.server.is_away:
            self.close_connection = True
            return
        self.server.calls.append(f"{self.command} {self.path.partition('?')[0]}")
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        answer = requests.request(self.command, self.server.target + self.path, data=body, headers=headers, timeout=60)
        self.send_response_only(answer.status_code)
        for name, value in answer.headers.items():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("content-length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    do_GET = do_POST = _hand_on

    def log_message(self, format: str, *args: object) -> None:
        """Not on the tests' output."""


@contextmanager
def counting_proxy(target: str) -> Iterator[CountingProxy]:
    """One at work."""
    with CountingProxy(target) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
