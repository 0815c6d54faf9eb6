"""A team's own pages of the dashboard: they are deployed with the models and belong to every release that is cut."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
from psycopg.types.json import Jsonb

Pages = Mapping[str, str]
"""A page's text by its name."""


def deployed(connection: psycopg.Connection, environment: str) -> Pages:
    """What was last deployed or promoted to the environment."""
    row = connection.execute(
        "SELECT pages FROM ledger.deployments WHERE environment = %s", [environment]
    ).fetchone()  # fmt: skip
    return dict(row[0]) if row else {}


def note(connection: psycopg.Connection, environment: str, pages: Pages) -> None:
    """These were deployed. The deployment has its row already."""
    connection.execute(
        "UPDATE ledger.deployments SET pages = %s WHERE environment = %s", [Jsonb(dict(pages)), environment]
    )


def differences(before: Pages, after: Pages) -> list[str]:
    """`page sales is new`, and so on."""
    words = {name: "is new" if name not in before else "is gone" if name not in after else "changed"
             for name in sorted({*before, *after}) if before.get(name) != after.get(name)}  # fmt: skip
    return [f"page {name} {word}" for name, word in words.items()]
