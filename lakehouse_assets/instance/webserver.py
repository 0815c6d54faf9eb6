"""Dagster's webserver, deaf to the pages of other sites: `python -m lakehouse_assets.instance.webserver`, its options.

dagster-webserver 1.13 has no login and runs a mutation from a plain GET, from a form's POST, and over a WebSocket from
any origin. So any page that is open in a browser on this machine could launch a run or a deploy. This can go when
Dagster refuses that itself.
"""

from __future__ import annotations

import sys

from starlette.middleware import Middleware

from lakehouse.same_origin import SameOriginOnly
from lakehouse.settings import SettingsError, load_settings
from lakehouse_assets.instance.reloading import Reloader


def main() -> None:
    """As `dagster-webserver`."""
    from dagster_webserver.cli import main as serve
    from dagster_webserver.webserver import DagsterWebserver

    own = DagsterWebserver.build_middleware
    try:
        settings = load_settings()
    except SettingsError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)

    def build_middleware(self: DagsterWebserver) -> list[Middleware]:
        Reloader(settings, self._process_context).start()
        return [Middleware(SameOriginOnly, names=settings.own_names), *own(self)]

    DagsterWebserver.build_middleware = build_middleware  # type: ignore[method-assign]
    serve()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
