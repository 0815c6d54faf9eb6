"""What we change in Dagster's own instance: its storage, logs, web server, old and abandoned runs."""
