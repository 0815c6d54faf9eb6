"""A database as a new source: its tables, their keys, and the column that says when a row was changed."""

from __future__ import annotations

import keyword
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from lakehouse.wording import plural
from lakehouse_assets.defs.ingestion.new_source.parts import (
    NONE,
    Asking,
    Given,
    NewSourceError,
    Written,
    changed_column,
    check_tables,
    code,
    given_secret,
    variable,
)

DRIVERS = {"postgres": "postgresql", "mysql": "mysql+pymysql", "mariadb": "mysql+pymysql"}
CONNECT_SECONDS = 15


@dataclass(frozen=True)
class Table:
    """A table or view as the database has it."""

    name: str
    times: dict[str, bool]  # column of a date or time -> whether it may be empty
    columns: list[str]
    key: list[str]


def make(given: Given, asking: Asking) -> Written:
    """Look at the database and ask what it doesn't say. Raises NewSourceError."""
    url, is_kept = _url(given)
    try:
        tables, views = _look(url, given)
    except NewSourceError as error:
        if "password" not in str(error) or not url.username or url.password is not None:
            raise
        password = asking.secret(f"Password of {url.username}", variable(given.name, "credentials"))
        url = url.set(password=password)
        tables, views = _look(url, given)
    check_tables(given, [*tables, *views])
    chosen = list(given.tables) or _choose(list(tables), asking)
    check_tables(Given(given.name, given.address, chosen), [*tables, *views])
    lines, told = [], []
    for name in chosen:
        line, said = _hints(given, {**tables, **views}[name], asking)
        lines.append(line)
        told.append((name, said))
    arguments = [f"schema={code(given.schema)}"] if given.schema else []
    arguments.append(f"table_names={code(chosen)}")
    arguments += ["include_views=True"] if set(chosen) & set(views) else []
    total = len(tables) + len(views)
    where = f"{url.database} on {url.host or 'this machine'}"
    text = (
        f'"""The database {where}: {len(chosen)} of its {plural(total, "table")}."""\n\n'
        "import dlt\nfrom dlt.sources.sql_database import sql_database\n\n"
        f"{given.name} = sql_database({', '.join(arguments)})\n\n" + "".join(lines)
    )
    secrets = {} if is_kept else {"credentials": url.render_as_string(hide_password=False)}
    return Written(text, told, secrets)


def _url(given: Given) -> tuple[sa.URL, bool]:
    """The database's address, and whether the environment has it already."""
    there = given_secret(given.name, "credentials")
    try:
        return _with_driver(sa.make_url(there or given.address)), bool(there)
    except sa.exc.ArgumentError as error:
        raise NewSourceError("That is no database's address, as postgresql://user@host:5432/database is.") from error


def _with_driver(url: sa.URL) -> sa.URL:
    return url.set(drivername=DRIVERS.get(url.drivername, url.drivername))


def _look(url: sa.URL, given: Given) -> tuple[dict[str, Table], dict[str, Table]]:
    try:
        timeout = {"connect_timeout": CONNECT_SECONDS} if url.get_backend_name() in ("postgresql", "mysql") else {}
        engine = sa.create_engine(url, connect_args=timeout, poolclass=sa.NullPool)
        seen = sa.inspect(engine)
        schema = given.schema or None
        if schema and schema not in seen.get_schema_names():
            raise NewSourceError(f"There is no schema {schema}. There are: {', '.join(seen.get_schema_names())}.")
        keys = seen.get_multi_pk_constraint(schema)
        tables = {
            name: _table(name, columns, keys) for (_, name), columns in sorted(seen.get_multi_columns(schema).items())
        }
        views = {
            name: _table(name, columns, {})
            for (_, name), columns in seen.get_multi_columns(
                schema, kind=sa.engine.reflection.ObjectKind.ANY_VIEW
            ).items()
        }
    except ModuleNotFoundError as error:
        raise NewSourceError(
            f"{url.drivername} needs {error.name}: `uv pip install {error.name}`, then again."
        ) from error
    except sa.exc.SQLAlchemyError as error:
        said = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        said = said.replace(url.password, "***") if isinstance(url.password, str) and url.password else said
        raise NewSourceError(f"The database can't be read: {said}") from None  # its chain may quote the password
    return tables, views


def _table(name: str, columns: list[Any], keys: Any) -> Table:
    times = {
        column["name"]: bool(column["nullable"])
        for column in columns
        if isinstance(column["type"], (sa.Date, sa.DateTime))
    }
    key: list[str] = next((found["constrained_columns"] for (_, table), found in keys.items() if table == name), [])
    return Table(name, times, [column["name"] for column in columns], key)


def _choose(tables: list[str], asking: Asking) -> list[str]:
    if not tables:
        raise NewSourceError("It has no table. Another schema: --schema NAME. A view: --table NAME.")
    answer = asking.ask(f"Which tables? {', '.join(tables)}", "all", "--table")
    return tables if answer == "all" else [name.strip() for name in answer.split(",") if name.strip()]


def _hints(given: Given, table: Table, asking: Asking) -> tuple[str, str]:
    """The lines that say how a table is loaded, and the same in words."""
    key = [name.strip() for name in given.keys.get(table.name, "").split(",") if name.strip()] or table.key
    cursor = given.cursors.get(table.name, "")
    clear = changed_column(list(table.times))
    if not cursor and key and table.times and len(clear) != 1:
        question = (
            f"{table.name}: which column says when a row was changed? {', '.join(table.times)}, or {NONE}: loaded whole"
        )
        cursor = asking.ask(question, clear[0] if clear else NONE, f"--cursor {table.name}=COLUMN")
    elif not cursor and key and clear:
        cursor = clear[0]
    cursor = "" if cursor == NONE else cursor
    for column in [*key, *filter(None, [cursor])]:
        if column not in table.columns:
            raise NewSourceError(f"{table.name} has no column {column}. It has: {', '.join(table.columns)}.")
    hints = {"primary_key": key[0] if len(key) == 1 else key} if key else {}
    said = f"key {', '.join(key)}" if key else "no key"
    if not cursor:
        return _line(
            given, table, "Loaded whole each time.", {**hints, "write_disposition": "replace"}
        ), f"{said}; loaded whole"
    empty = ', on_cursor_value_missing="include"' if table.times.get(cursor) else ""
    incremental = f"dlt.sources.incremental({code(cursor)}{empty})"
    why = "Rows changed since the last load are asked for; what is deleted there stays here until a full refresh."
    way = "merge" if key else "append"
    line = _line(given, table, why, {**hints, "write_disposition": way}, f",\n    incremental={incremental},\n")
    return line, f"{said}; increments by {cursor}"


def _line(given: Given, table: Table, why: str, hints: dict[str, Any], more: str = "") -> str:
    plain = table.name.isidentifier() and not keyword.iskeyword(table.name) and not hasattr(_source_class(), table.name)
    resource = f"{given.name}.{table.name}" if plain else f"{given.name}.resources[{code(table.name)}]"
    words = ", ".join(f"{name}={code(value)}" for name, value in hints.items())
    return f"# {why}\n{resource}.apply_hints({chr(10) + '    ' if more else ''}{words}{more})\n"


def _source_class() -> type:
    from dlt.extract.source import DltSource

    return DltSource
