"""Models as assets, deploying them, and what SQLMesh knows shown in Dagster."""
