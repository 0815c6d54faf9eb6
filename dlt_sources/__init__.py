"""The project's sources: one file a source, each a dlt source. Knows nothing of the lake or of Dagster."""
