"""Who computes a physical table that several environments use: exactly one of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlmesh.core.environment import Environment


@dataclass(frozen=True)
class Ownership:
    """The rule: the first of `precedence` that uses a table owns it, else the first environment that used it.

    SQLMesh's state does not say who came first: `first` does, by physical table, the first one first. Without an entry
    the first by name owns it, so that there is never more than one.
    """

    precedence: Sequence[str] = ("prod",)
    first: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def owner(self, table: str, users: Collection[str]) -> str:
        """The one of `users`, who are not none, that may compute the table."""
        order = (*self.precedence, *self.first.get(table, ()), min(users))
        return next(name for name in order if name in users)


def table_users(environments: Collection[Environment]) -> dict[str, set[str]]:
    """The environments that use each physical table.

    Outside prod a model that is not deployable yet has a development table beside its own: both count as used.
    """
    users: dict[str, set[str]] = {}
    for environment in environments:
        for info in environment.snapshots:
            if not info.is_model or info.is_symbolic:
                continue
            for deployable in (True,) if environment.name == "prod" else (True, False):
                users.setdefault(info.table_name(is_deployable=deployable), set()).add(environment.name)
    return users
