"""The `lakehouse` command, as far as it needs no Dagster: one module a group of commands."""
