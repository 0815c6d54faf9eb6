"""A model in Python."""

import typing as t
from datetime import datetime

import pandas as pd
from sqlmesh import ExecutionContext, model
from sqlmesh.core.model import ModelKindName


@model(
    "marts.python_totals",
    kind={"name": ModelKindName.FULL},
    columns={"pages": "int", "clicks": "int"},
    depends_on=["marts.pages"],
)
def execute(
    context: ExecutionContext, start: datetime, end: datetime, execution_time: datetime, **kwargs: t.Any
) -> pd.DataFrame:
    pages = context.fetchdf(f"SELECT * FROM {context.resolve_table('marts.pages')}")
    return pd.DataFrame([{"pages": len(pages), "clicks": int(pages["clicks"].sum())}])
