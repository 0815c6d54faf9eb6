"""PostgreSQL's roles of a lake, with the least rights: an owner, a writer and a reader, groups that logins belong to.

Roles are the server's, so each carries its database's name: two lakes on one server have roles of their own. What one
login makes must be every writer's: `logins` shows how a login acts as its group.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import psycopg
from psycopg import sql

from lakehouse.errors import LakehouseError

CATALOG, LEDGER, MODELS_STATE, ORCHESTRATOR = "lakehouse", "ledger", "sqlmesh", "dagster"
SCHEMAS = (CATALOG, LEDGER, MODELS_STATE, ORCHESTRATOR)
READ_WHOLE = (CATALOG, LEDGER)
ENVIRONMENTS = "_environments"
"""The one table of SQLMesh's state that readers of the head need: which environments there are."""
LONGEST_NAME = 63
ROWS = "SELECT, INSERT, UPDATE, DELETE"


class RolesError(LakehouseError):
    """The roles can't be made by this login; the message says who can, and that the lake works without them."""


@dataclass(frozen=True)
class Roles:
    """The names of a lake's three roles. An owner may all that a writer may, and a writer all that a reader may."""

    database: str
    owner: str
    writer: str
    reader: str

    @classmethod
    def of(cls, database: str) -> Roles:
        """`<database>_owner` and so on, cut where PostgreSQL would cut them to the same."""
        prefix = database
        if len(f"{database}_writer".encode()) > LONGEST_NAME:
            prefix = (
                f"{database.encode()[:40].decode(errors='ignore')}_{hashlib.sha256(database.encode()).hexdigest()[:12]}"
            )
        return cls(database, f"{prefix}_owner", f"{prefix}_writer", f"{prefix}_reader")

    @property
    def names(self) -> list[str]:
        """All three."""
        return [self.owner, self.writer, self.reader]

    def login(self, role: str, name: str = "ann") -> list[str]:
        """The statements that make a login of a role. No password is among them."""
        acting = sql.SQL("ALTER ROLE {} IN DATABASE {} SET role = {};")
        return [
            sql.SQL("CREATE ROLE {} LOGIN;").format(sql.Identifier(name)).as_string(),
            sql.SQL("GRANT {} TO {};").format(sql.Identifier(role), sql.Identifier(name)).as_string(),
            acting.format(sql.Identifier(name), sql.Identifier(self.database), sql.Literal(role)).as_string(),
        ]


def make(connection: psycopg.Connection) -> tuple[Roles, list[str]]:
    """Make the roles that are missing, and give each exactly what it needs. Gives them, and the names of the new ones.

    Call it when the schemas are there; again when there are more tables.

    Raises:
        RolesError: this login may not.
    """
    roles = Roles.of(connection.info.dbname)
    try:
        with connection.transaction():
            made = _create(connection, roles)
            _own(connection, roles)
            _grant(connection, roles)
    except psycopg.errors.InsufficientPrivilege as error:
        raise RolesError(
            f"The roles {', '.join(roles.names)} were not made: {connection.info.user} may not "
            f"({error.diag.message_primary}). The lake works without them, with every right of this login. For least "
            "rights run `lakehouse bootstrap` once as a login that owns the database and has CREATEROLE."
        ) from None
    return roles, made


def make_login(connection: psycopg.Connection, name: str, kind: str, password: str) -> str:
    """Make a login of the role of this kind (reader, writer, owner), or change an existing one to it; gives the role.

    The server gets a verifier, never the password: no log of its statements can show it.

    Raises:
        RolesError: there is an administrator of this name, or one of the roles has it.
    """
    roles = Roles.of(connection.info.dbname)
    role = str(getattr(roles, kind))
    verifier = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    with connection.transaction():
        there = connection.execute(
            "SELECT rolsuper OR rolcreaterole OR NOT rolcanlogin FROM pg_roles WHERE rolname = %s", [name]
        ).fetchone()
        if there and there[0]:
            raise RolesError(
                f"{name} is a role or an administrator of the server, and stays as it is. Choose a new name."
            )
        create, grant, act = roles.login(role, name)
        if not there:
            connection.execute(create)  # type: ignore[arg-type]
        for other in roles.names:
            if other != role:
                _run(connection, "REVOKE {} FROM {}", other, name)
        connection.execute(grant)  # type: ignore[arg-type]
        connection.execute(act)  # type: ignore[arg-type]
        renewed = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}")
        connection.execute(renewed.format(sql.Identifier(name), sql.Literal(verifier)))
    return role


def _create(connection: psycopg.Connection, roles: Roles) -> list[str]:
    there = {
        name for (name,) in connection.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", [roles.names])
    }
    missing = [role for role in roles.names if role not in there]
    for role in missing:
        _run(connection, "CREATE ROLE {} NOLOGIN", role)
    for member, group in ((roles.owner, roles.writer), (roles.writer, roles.reader)):
        if not _is_member(connection, member, group):
            _run(connection, "GRANT {} TO {}", group, member)
    if not _is_member(connection, "", roles.owner):  # who hands an object over must belong to its new owner
        _run(connection, "GRANT {} TO CURRENT_USER", roles.owner)
    return missing


def _is_member(connection: psycopg.Connection, member: str, group: str) -> bool:
    row = connection.execute(
        "SELECT pg_has_role(coalesce(nullif(%s, ''), current_user)::name, %s, 'USAGE')", [member, group]
    ).fetchone()
    return bool(row and row[0])


def _own(connection: psycopg.Connection, roles: Roles) -> None:
    """Schemas and tables become the owner's; the tables of inlined rows, which writers make and drop, the writer's."""
    for (schema,) in connection.execute(
        "SELECT nspname FROM pg_namespace WHERE nspname = ANY(%s) AND pg_get_userbyid(nspowner) <> %s",
        [list(SCHEMAS), roles.owner],
    ).fetchall():
        _run(connection, "ALTER SCHEMA {} OWNER TO {}", schema, roles.owner)
    # DuckLake makes and drops a table for the inlined rows of each of the lake's. PostgreSQL gives a table only to a
    # role that could have made it there, unless a superuser asks.
    _run(connection, "GRANT USAGE, CREATE ON SCHEMA {} TO {}", CATALOG, roles.writer)
    for schema, table, inlined in connection.execute(
        """
        SELECT nspname, relname, relname ~ '^ducklake_inlined_(data|delete)_[0-9]'
        FROM pg_class JOIN pg_namespace ON relnamespace = pg_namespace.oid
        WHERE nspname = ANY(%s) AND relkind IN ('r', 'p', 'v', 'm') AND pg_get_userbyid(relowner) <> ALL(%s)
        """,
        [list(SCHEMAS), [roles.owner, roles.writer]],
    ).fetchall():
        _run(connection, "ALTER TABLE {}.{} OWNER TO {}", schema, table, roles.writer if inlined else roles.owner)

    for schema, function in connection.execute(
        """
        SELECT nspname, proname FROM pg_proc JOIN pg_namespace ON pronamespace = pg_namespace.oid
        WHERE nspname = ANY(%s) AND pg_get_userbyid(proowner) <> %s
        """,
        [list(SCHEMAS), roles.owner],
    ).fetchall():
        _run(connection, "ALTER FUNCTION {}.{} OWNER TO {}", schema, function, roles.owner)


def _grant(connection: psycopg.Connection, roles: Roles) -> None:
    _run(connection, "GRANT CONNECT, CREATE ON DATABASE {} TO {}", roles.database, roles.owner)
    _run(connection, "GRANT CONNECT ON DATABASE {} TO {}, {}", roles.database, roles.writer, roles.reader)
    there = {
        name
        for (name,) in connection.execute("SELECT nspname FROM pg_namespace WHERE nspname = ANY(%s)", [list(SCHEMAS)])
    }
    for schema in [name for name in SCHEMAS if name in there]:
        _run(connection, "GRANT USAGE ON SCHEMA {} TO {}", schema, roles.writer)
        _for_all(connection, "TABLES", schema, ROWS, roles.writer, roles.owner)
        # SELECT is for pg_dump, which a backup runs.
        _for_all(connection, "SEQUENCES", schema, "USAGE, SELECT", roles.writer, roles.owner)
        if schema in READ_WHOLE:
            _run(connection, "GRANT USAGE ON SCHEMA {} TO {}", schema, roles.reader)
            for maker in (roles.owner, roles.writer):
                _for_all(connection, "TABLES", schema, "SELECT", roles.reader, maker)
    row = connection.execute("SELECT to_regclass(%s)", [f"{MODELS_STATE}.{ENVIRONMENTS}"]).fetchone()
    if row and row[0]:
        _run(connection, "GRANT USAGE ON SCHEMA {} TO {}", MODELS_STATE, roles.reader)
        _run(connection, "GRANT SELECT ON {}.{} TO {}", MODELS_STATE, ENVIRONMENTS, roles.reader)


def _for_all(connection: psycopg.Connection, kind: str, schema: str, rights: str, role: str, maker: str) -> None:
    """Rights on the tables or sequences that are there, and on those that `maker` will make."""
    _run(connection, f"GRANT {rights} ON ALL {kind} IN SCHEMA {{}} TO {{}}", schema, role)
    default = f"ALTER DEFAULT PRIVILEGES FOR ROLE {{}} IN SCHEMA {{}} GRANT {rights} ON {kind} TO {{}}"
    _run(connection, default, maker, schema, role)


def _run(connection: psycopg.Connection, statement: str, *names: str) -> None:
    connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))  # type: ignore[arg-type]
