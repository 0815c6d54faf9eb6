"""The ledger, a schema in PostgreSQL that survives any killed process: marks, touched ranges, files, watermarks."""

from __future__ import annotations

import psycopg

BOOTSTRAP_SQL = """
CREATE SCHEMA IF NOT EXISTS ledger;

-- One row per unfinished piece of work. Written before its first commit, deleted after its last.
CREATE TABLE IF NOT EXISTS ledger.marks (
    kind text NOT NULL CHECK (kind IN ('load', 'deploy', 'model')),
    scope text NOT NULL,              -- the pipeline, or the environment
    subject text NOT NULL DEFAULT '', -- the model, for kind 'model'
    run text NOT NULL,                -- who left it
    since timestamptz NOT NULL DEFAULT now(),
    snapshot bigint NOT NULL,         -- the lake's newest snapshot before the work began
    details jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (kind, scope, subject)
);

-- One row per load and table: the times of the rows that it inserted, changed or deleted.
CREATE TABLE IF NOT EXISTS ledger.touched (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_name text NOT NULL,
    pipeline text NOT NULL,
    ranges tsmultirange NOT NULL,     -- UTC, half open; '{(,)}' is everything
    rows_inserted bigint NOT NULL,
    rows_deleted bigint NOT NULL,
    snapshot bigint NOT NULL,         -- the lake's snapshot at which the load was complete
    run text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS touched_by_table ON ledger.touched (table_name, id);

-- One row per file of the landing zone: which version of it was last loaded, or refused.
CREATE TABLE IF NOT EXISTS ledger.landed_files (
    key text PRIMARY KEY,             -- dataset/file
    etag text NOT NULL,
    rows bigint,                      -- NULL when it was refused
    refusal text,                     -- why
    run text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now()
);

-- What was last deployed to each environment: the code, SQLMesh's plan, who and when.
CREATE TABLE IF NOT EXISTS ledger.deployments (
    environment text PRIMARY KEY,
    content_key text NOT NULL,        -- of the project's files
    plan_id text NOT NULL,            -- as SQLMesh's state has it: its own command line may deploy too
    run text NOT NULL,
    deployed_at timestamptz NOT NULL DEFAULT now()
);

-- Up to which touched row each physical table has been computed.
CREATE TABLE IF NOT EXISTS ledger.watermarks (
    physical_table text PRIMARY KEY,
    touched_id bigint NOT NULL
);
"""


def bootstrap(connection: psycopg.Connection) -> None:
    """Create the ledger's tables where they are missing. Call under the bootstrap lock."""
    connection.execute(BOOTSTRAP_SQL)
