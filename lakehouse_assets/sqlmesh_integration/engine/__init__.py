"""Every call into SQLMesh that its documentation does not promise, for version 0.236.4.

Nothing else in this package reaches behind SQLMesh's public API, and tests/sqlmesh_integration/
test_engine_contract.py says which of these promises a newer version breaks. Importing this imports SQLMesh.
"""

from lakehouse_assets.sqlmesh_integration.engine.connections import pin_unit_tests
from lakehouse_assets.sqlmesh_integration.engine.environments import (
    compact_state,
    drop_environment,
    drop_expired_tables,
    drop_unused_tables,
    environment_name,
    virtual_plan,
)
from lakehouse_assets.sqlmesh_integration.engine.errors import sqlmesh_errors
from lakehouse_assets.sqlmesh_integration.engine.evaluation import RecordingEvaluator, failed_audits, named_audits
from lakehouse_assets.sqlmesh_integration.engine.events import (
    Audited,
    BatchDone,
    Begun,
    EventConsole,
    Interval,
    Logged,
    NodeFailed,
    NodesSkipped,
    Planned,
    nowhere,
)
from lakehouse_assets.sqlmesh_integration.engine.intervals import (
    first_start,
    forget_intervals,
    in_order,
    missing_intervals,
    read_intervals,
    restate_due,
    run_merged,
)
from lakehouse_assets.sqlmesh_integration.engine.objects import (
    Absent,
    Remembered,
    absent,
    changed,
    columns_of,
    forget_objects,
)
from lakehouse_assets.sqlmesh_integration.engine.plans import (
    apply_plan,
    create_externals,
    create_tables,
    forget_lost,
    lost_of,
)
from lakehouse_assets.sqlmesh_integration.engine.reading import (
    column_sources,
    counted_unit,
    environment_naming,
    exclusive_end,
    file_of,
    hidden_by_tags,
    hidden_columns,
    view_name,
)
from lakehouse_assets.sqlmesh_integration.engine.sessions import Session, session

__all__ = [
    "Absent",
    "Audited",
    "BatchDone",
    "Begun",
    "EventConsole",
    "Interval",
    "Logged",
    "NodeFailed",
    "NodesSkipped",
    "Planned",
    "RecordingEvaluator",
    "Remembered",
    "Session",
    "absent",
    "apply_plan",
    "changed",
    "column_sources",
    "columns_of",
    "compact_state",
    "counted_unit",
    "create_externals",
    "create_tables",
    "drop_environment",
    "drop_expired_tables",
    "drop_unused_tables",
    "environment_name",
    "environment_naming",
    "exclusive_end",
    "failed_audits",
    "file_of",
    "first_start",
    "forget_intervals",
    "forget_lost",
    "forget_objects",
    "hidden_by_tags",
    "hidden_columns",
    "in_order",
    "lost_of",
    "missing_intervals",
    "named_audits",
    "nowhere",
    "pin_unit_tests",
    "read_intervals",
    "restate_due",
    "run_merged",
    "session",
    "sqlmesh_errors",
    "view_name",
    "virtual_plan",
]
