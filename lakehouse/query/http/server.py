"""The query service as a process: `lakehouse serve`, or `python -m lakehouse.query.http.server`, which is quicker."""

from __future__ import annotations

import logging
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from lakehouse.query.engine.service import QueryService
from lakehouse.settings import Settings, SettingsError, is_loopback, load_settings

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from lakehouse.query.engine.places import Connections


def serve(settings: Settings) -> None:
    """Serve until Ctrl-C."""
    service = QueryService(settings)
    # The workers come up while this process imports the rest.
    service.start()
    import uvicorn

    from lakehouse.query.http.app import create_app

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)
    if settings.query_token_required is False and not is_loopback(settings.query_host):
        logging.getLogger("lakehouse.query").warning(
            "anybody who reaches %s is answered: LAKEHOUSE_QUERY_TOKEN_REQUIRED is false", settings.query_host
        )
    if settings.stores_on_s3 and not settings.query_s3_access_key_id:
        logging.getLogger("lakehouse.query").warning(
            "LAKEHOUSE_QUERY_S3_ACCESS_KEY_ID is not set: workers hold the storage's own key, which may write"
        )
    from lakehouse.query.postgres.server import door

    among = connections(settings)
    doors = [door(settings, among)] if settings.query_postgres_port else []
    uvicorn.run(**options(settings, create_app(settings, service, doors), among))


def connections(settings: Settings) -> Connections:
    """All that the process may have, whatever they speak."""
    from lakehouse.query.engine.places import Connections, connections_within_limits

    most = connections_within_limits(settings.query_connections, settings.query_workers)
    return Connections(most, min(settings.query_connections_per_address, most), settings.query_client_seconds)


def options(settings: Settings, app: Starlette, among: Connections | None = None) -> dict[str, Any]:
    """What uvicorn is told."""
    from lakehouse.query.http.connections import Connection
    from lakehouse.query.http.heads import HEADER_BYTES

    return {
        "app": app,
        "host": settings.query_host,
        "port": settings.query_port,
        "http": partial(Connection, among=among or connections(settings)),
        "ws": "none",
        "h11_max_incomplete_event_size": HEADER_BYTES,
        "timeout_keep_alive": settings.query_idle_seconds,
        "access_log": False,
        "log_level": "warning",
        "server_header": False,
        "lifespan": "on",
    }


def main() -> int:
    """Exit code 2 when a setting is wrong."""
    try:
        serve(load_settings())
    except SettingsError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
