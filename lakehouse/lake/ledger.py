"""The ledger, a schema in PostgreSQL that survives any killed process: marks, touched ranges, files, watermarks."""

from __future__ import annotations

import hashlib

import psycopg
from psycopg import sql

from lakehouse.errors import LakehouseError

BOOTSTRAP_SQL = """
CREATE SCHEMA IF NOT EXISTS ledger;

-- Which lake this is: its storage says the same, so that two never write or tidy one storage.
CREATE TABLE IF NOT EXISTS ledger.identity (
    is_the_one boolean PRIMARY KEY DEFAULT true CHECK (is_the_one),
    id uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO ledger.identity DEFAULT VALUES ON CONFLICT DO NOTHING;

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

-- Processes that left a mark. One whose work another took over has lost its locks, and commits no more to the lake.
CREATE TABLE IF NOT EXISTS ledger.workers (
    worker text PRIMARY KEY,          -- as its connections to the lake are named
    is_taken_over boolean NOT NULL DEFAULT false,
    since timestamptz NOT NULL DEFAULT now()
);
DELETE FROM ledger.workers WHERE since < now() - interval '30 days';

-- FOR SHARE: who takes over waits for a commit that is under way, and one that began before is told of it.
CREATE OR REPLACE FUNCTION ledger.refuse_taken_over() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog AS $$
DECLARE refused boolean;
BEGIN
    SELECT is_taken_over INTO refused FROM ledger.workers
    WHERE worker = current_setting('application_name') FOR SHARE;
    IF refused THEN
        RAISE EXCEPTION 'another process has taken over the work of this one, which had lost its locks';
    END IF;
    RETURN NEW;
END $$;

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
    etag text NOT NULL,               -- empty once the file was deleted and its rows with it
    rows bigint,                      -- in the lake; NULL when none of its versions was ever loaded
    refusal text,                     -- why this version was refused
    run text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE ledger.landed_files ADD COLUMN IF NOT EXISTS
    lacking text[] NOT NULL DEFAULT '{}'; -- declared columns that the loaded version doesn't have

-- One row per version of a file that a load has met.
CREATE TABLE IF NOT EXISTS ledger.landed_versions (
    key text NOT NULL,                -- dataset/file
    etag text NOT NULL,
    rows bigint,                      -- NULL when it was refused
    refusal text,
    run text NOT NULL,                -- the last load that met it
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (key, etag)
);

-- One row per file that was refused on upload and yet wanted: it lies in quarantine, and nobody loads it.
CREATE TABLE IF NOT EXISTS ledger.quarantined_files (
    key text PRIMARY KEY,             -- dataset/file
    reason text NOT NULL,
    uploaded_by text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now()
);

-- What was last deployed to each environment: the code, SQLMesh's plan, who and when.
CREATE TABLE IF NOT EXISTS ledger.deployments (
    environment text PRIMARY KEY,
    content_key text NOT NULL,        -- of the project's files
    code_version text NOT NULL DEFAULT '', -- the commit that was checked out, else the content's key
    plan_id text NOT NULL,            -- as SQLMesh's state has it: its own command line may deploy too
    run text NOT NULL,
    deployed_at timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE ledger.deployments ADD COLUMN IF NOT EXISTS code_version text NOT NULL DEFAULT '';
ALTER TABLE ledger.deployments ADD COLUMN IF NOT EXISTS
    source text NOT NULL DEFAULT ''; -- the environment that it was made or promoted from; '' for the project's files
ALTER TABLE ledger.deployments ADD COLUMN IF NOT EXISTS
    preview jsonb; -- of a pull request's: the plans that were compared, and what was wrong
ALTER TABLE ledger.deployments ADD COLUMN IF NOT EXISTS
    pages jsonb NOT NULL DEFAULT '{}'; -- the dashboard's, that came with it: name -> text

-- Since when each environment uses a physical table: the first that still does computes it, but for prod and qa.
CREATE TABLE IF NOT EXISTS ledger.table_users (
    physical_table text NOT NULL,
    environment text NOT NULL,
    used boolean NOT NULL DEFAULT true, -- false: it has moved on; the table goes with the environment
    since timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (physical_table, environment)
);

-- Up to which touched row each physical table has been computed.
CREATE TABLE IF NOT EXISTS ledger.watermarks (
    physical_table text PRIMARY KEY,
    touched_id bigint NOT NULL
);

-- At which snapshot of the lake each table last passed its blocking checks.
CREATE TABLE IF NOT EXISTS ledger.checked (
    physical_table text PRIMARY KEY,
    snapshot bigint NOT NULL,
    run text NOT NULL,
    checked_at timestamptz NOT NULL DEFAULT now()
);

-- How long the run took that computed most of each table.
CREATE TABLE IF NOT EXISTS ledger.timings (
    physical_table text PRIMARY KEY,
    intervals integer NOT NULL,       -- 1 for what is computed as a whole
    seconds double precision NOT NULL
);

-- Every release that was ever cut. Its snapshot is kept from maintenance until it is published.
CREATE TABLE IF NOT EXISTS ledger.releases (
    environment text NOT NULL,
    number integer NOT NULL,
    snapshot bigint NOT NULL,
    code_version text NOT NULL,
    run text NOT NULL,
    author text NOT NULL,
    cut_at timestamptz NOT NULL DEFAULT now(),
    changed jsonb NOT NULL,           -- what differs from the release before, in words
    tables jsonb NOT NULL,            -- the served models: where they are stored, what they hold
    state text NOT NULL DEFAULT 'cut' CHECK (state IN ('cut', 'published', 'gone')),
    published_at timestamptz,
    failures integer NOT NULL DEFAULT 0, -- how often publishing it failed, the storage being well
    problem text NOT NULL DEFAULT '', -- why it was given up and is gone without having been published
    PRIMARY KEY (environment, number)
);

ALTER TABLE ledger.releases ADD COLUMN IF NOT EXISTS failures integer NOT NULL DEFAULT 0;
ALTER TABLE ledger.releases ADD COLUMN IF NOT EXISTS problem text NOT NULL DEFAULT '';
ALTER TABLE ledger.releases ADD COLUMN IF NOT EXISTS
    pages jsonb NOT NULL DEFAULT '{}'; -- the dashboard's: name -> text

-- Environments whose release could not be cut only because others were writing just then: somebody must try again.
CREATE TABLE IF NOT EXISTS ledger.postponed (
    environment text PRIMARY KEY,
    reasons jsonb NOT NULL,
    since timestamptz NOT NULL DEFAULT now()
);

-- Groups of served tables that the newest cut left as readers have them.
CREATE TABLE IF NOT EXISTS ledger.held_back (
    environment text NOT NULL,
    tables text[] NOT NULL,
    reasons jsonb NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (environment, tables)
);

-- What readers of an environment get. `current.json` in the published zone follows.
CREATE TABLE IF NOT EXISTS ledger.pointers (
    environment text PRIMARY KEY,
    number integer NOT NULL,
    held_by text,                     -- who rolled back; NULL when readers get the newest
    held_at timestamptz
);

-- Up to which release its readers may go: later ones wait for an approval.
ALTER TABLE ledger.pointers ADD COLUMN IF NOT EXISTS allowed integer;
UPDATE ledger.pointers AS p SET allowed = (
    SELECT max(number) FROM ledger.releases AS r WHERE r.environment = p.environment AND state = 'published'
) WHERE allowed IS NULL;

-- Who let readers have a release that waited for a second person.
CREATE TABLE IF NOT EXISTS ledger.approvals (
    environment text NOT NULL,
    number integer NOT NULL,
    approved_by text NOT NULL,
    approved_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (environment, number)
);

-- What is wrong and was told: of each only changes are told again.
CREATE TABLE IF NOT EXISTS ledger.alerts (
    environment text NOT NULL,
    subject text NOT NULL,            -- a job, an asset
    state text NOT NULL,              -- FAIL, WARN; of a run what failed
    details jsonb NOT NULL DEFAULT '{}',
    since timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (environment, subject)
);

-- What each immutable file of the storage held when it was first read whole: it may never differ.
CREATE TABLE IF NOT EXISTS ledger.file_checksums (
    key text PRIMARY KEY,             -- in the storage
    sha256 text NOT NULL,
    size_bytes bigint NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now()
);
"""


VERSION = f"lakehouse {hashlib.sha256(BOOTSTRAP_SQL.encode()).hexdigest()[:12]}"
"""The schema's comment: by it a login that may not make tables knows whether they are the ones that it wants."""


WATCH_SQL = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'refuse_taken_over') THEN
        CREATE TRIGGER refuse_taken_over BEFORE INSERT ON lakehouse.ducklake_snapshot
        FOR EACH ROW EXECUTE FUNCTION ledger.refuse_taken_over();
    END IF;
END $$
"""
"""Once DuckLake has made its tables: every commit is a row there."""


class LedgerError(LakehouseError):
    """The ledger is missing or of another version, and this login may not make it; the message says who can."""


def lake_id(postgres: psycopg.Connection) -> str:
    """Which lake this is, once `lakehouse bootstrap` has run."""
    row = postgres.execute("SELECT id::text FROM ledger.identity").fetchone()
    assert row is not None
    return str(row[0])


def bootstrap(connection: psycopg.Connection) -> None:
    """Create the ledger's tables where they are missing. Call under the bootstrap lock.

    Raises:
        LedgerError: something is missing, and this login may not create it.
    """
    try:
        with connection.transaction():
            connection.execute(BOOTSTRAP_SQL)
            connection.execute(sql.SQL("COMMENT ON SCHEMA ledger IS {}").format(VERSION))
    except psycopg.errors.InsufficientPrivilege:
        require(
            connection,
            f"{connection.info.user} may not make it: run `lakehouse bootstrap` once as a login that owns it",
        )


def require(connection: psycopg.Connection, what_to_do: str = "run `lakehouse bootstrap` once") -> None:
    """Raises LedgerError where the ledger is not the one that this version works with."""
    row = connection.execute("SELECT obj_description(to_regnamespace('ledger'), 'pg_namespace')").fetchone()
    if row is None or row[0] != VERSION:
        found = "missing" if row is None or row[0] is None else "of another version of this program"
        raise LedgerError(f"The ledger in PostgreSQL is {found}; {what_to_do}.") from None
