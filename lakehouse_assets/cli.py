"""Commands of `lakehouse` that need Dagster or SQLMesh: plan, deploy, demo."""
import typer
app = typer.Typer()
