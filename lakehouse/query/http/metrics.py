"""What the service counts, for Prometheus. No statement, no token and no address is in it."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from lakehouse.query.engine.admission import Observer
from lakehouse.query.engine.gate import Gate
from lakehouse.query.engine.service import QueryService

SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics(Observer):
    """One service's own registry."""

    def __init__(self, service: QueryService, gate: Gate) -> None:
        self._registry = CollectorRegistry()
        self.calls = Counter(
            "lakehouse_query_calls",
            "Calls, by what became of them and how they came in.",
            ["outcome", "way"],
            registry=self._registry,
        )
        self.seconds = Histogram(
            "lakehouse_query_seconds", "From a call's arrival to the start of its answer.", ["cached", "way"],
            buckets=SECONDS, registry=self._registry,
        )  # fmt: skip
        self.rows = Counter("lakehouse_query_rows", "Rows given.", ["way"], registry=self._registry)
        self.bytes = Counter("lakehouse_query_bytes", "Bytes given.", ["way"], registry=self._registry)
        self._gauge("at_work", "Statements that run now.").set_function(lambda: gate.at_work)
        self._gauge("waiting", "Calls that wait for a worker.").set_function(lambda: gate.waiting)
        self._gauge("worker_restarts", "Workers that were replaced.").set_function(lambda: service.pool.restarts)
        self._gauge("cache_bytes", "Bytes of answers that are kept.").set_function(lambda: service.cache.size_bytes)
        self._gauge("cache_answers", "Answers that are kept.").set_function(lambda: len(service.cache))

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"lakehouse_query_{name}", text, registry=self._registry)

    def note(self, way: str, outcome: str) -> None:
        """Count a call."""
        self.calls.labels(outcome.replace("-", "_"), way).inc()

    def began(self, way: str, seconds: float, *, is_cached: bool) -> None:
        """Count the seconds."""
        self.seconds.labels("yes" if is_cached else "no", way).observe(seconds)

    def gave(self, way: str, rows: int, size: int) -> None:
        """Count rows and bytes."""
        self.rows.labels(way).inc(rows)
        self.bytes.labels(way).inc(size)

    def rendered(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)
