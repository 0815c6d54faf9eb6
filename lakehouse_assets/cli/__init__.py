"""The `lakehouse` commands that need the graph: models, environments, sources, files, maintenance, the demo."""
