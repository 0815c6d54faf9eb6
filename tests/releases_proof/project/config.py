"""The proof's models on the lake: our own configuration, without the linter's rules."""

from sqlmesh.core.config.linter import LinterConfig

from sqlmesh_project.config import config as ours

config = ours.model_copy(update={"linter": LinterConfig(enabled=False)})
