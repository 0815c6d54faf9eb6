"""A macro in Python."""

from sqlmesh import macro


@macro()
def short_page(evaluator, column):  # SQLMesh gives expressions
    return f"UPPER(SUBSTR({column}, 1, 3))"
