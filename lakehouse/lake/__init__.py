"""The lake: DuckLake attached over its catalog in PostgreSQL, who may use it, and its feed of changes."""
