"""The query service as a process: `lakehouse serve`, or `python -m lakehouse.query.server`, which starts faster."""

from __future__ import annotations

import logging
import sys

from lakehouse.query.service import QueryService
from lakehouse.settings import Settings, SettingsError, is_loopback, load_settings

HEADER_BYTES = 32_768
KEEP_ALIVE_SECONDS = 20


def serve(settings: Settings) -> None:
    """Serve until Ctrl-C."""
    service = QueryService(settings)
    # The workers come up while this process imports the rest.
    service.start()
    import uvicorn

    from lakehouse.query.http import create_app

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)
    if settings.query_token_required is False and not is_loopback(settings.query_host):
        logging.getLogger("lakehouse.query").warning(
            "anybody who reaches %s is answered: LAKEHOUSE_QUERY_TOKEN_REQUIRED is false", settings.query_host
        )
    if settings.stores_on_s3 and not settings.query_s3_access_key_id:
        logging.getLogger("lakehouse.query").warning(
            "LAKEHOUSE_QUERY_S3_ACCESS_KEY_ID is not set: workers hold the storage's own key, which may write"
        )
    uvicorn.run(
        create_app(settings, service),
        host=settings.query_host,
        port=settings.query_port,
        http="h11",  # holds how large a request's head may be
        h11_max_incomplete_event_size=HEADER_BYTES,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        access_log=False,
        log_level="warning",
        server_header=False,
        lifespan="on",
    )


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
