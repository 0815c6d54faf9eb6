"""PostgreSQL logins that must give a password, on the tests' own server, which trusts its administrator alone."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

PASSWORD = "p@ss:w/ord%41'\"\\ $&é#"
"""Every character that an address, a SQL string, a shell and libpq read in a way of their own."""
PREFIX = "login_"


def ask_logins_for_passwords(server_url: str) -> None:
    """From now on those whose name begins with `login_` must prove who they are."""
    with closing(psycopg.connect(server_url, autocommit=True)) as connection:
        row = connection.execute("SHOW hba_file").fetchone()
        assert row is not None
        rules = Path(row[0])
        rule = f"local all /^{PREFIX} scram-sha-256\n"
        if not rules.read_text().startswith(rule):
            rules.write_text(rule + rules.read_text())
            connection.execute("SELECT pg_reload_conf()")


def create_login(server_url: str, name: str, rights: str = "", password: str = PASSWORD) -> str:
    """A login of its own; gives its name."""
    with closing(psycopg.connect(server_url, autocommit=True)) as connection:
        statement = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} " + rights)
        connection.execute(statement.format(sql.Identifier(name), sql.Literal(password)))
    return name


def address(url: str, login: str, password: str | None = PASSWORD) -> str:
    """The URL for a login, with its password in it unless that is None."""
    secret = "" if password is None else f":{quote(password, safe='')}"
    return url.replace("//postgres@", f"//{login}{secret}@")
