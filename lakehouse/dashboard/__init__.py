"""The dashboard: what the marts say, read through the query service and nothing else."""
