"""The `lakehouse` commands that need the graph: models, environments, sources, files, maintenance, the demo."""

from __future__ import annotations

from typing import Any

from dlt_sources.landing.declaration import DeclarationError
from lakehouse.cli.console import Command, Commands, sentences
from lakehouse_assets.sqlmesh_integration.reasons import ModelsError


class GraphCommand(Command):
    """A command that ends in a sentence also for what sources and models say."""

    def invoke(self, ctx: Any) -> Any:
        """Run it."""
        with sentences(DeclarationError, ModelsError):
            return super().invoke(ctx)


class GraphCommands(Commands):
    """A group of such commands."""

    kind = GraphCommand
