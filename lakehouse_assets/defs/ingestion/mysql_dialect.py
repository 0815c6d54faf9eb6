"""How SQLAlchemy reads MySQL and MariaDB for a source: as they hold it, by a driver in pure Python.

By itself it takes one in C, which wants a compiler.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.dialects import mysql
from sqlalchemy.dialects.mysql.pymysql import MySQLDialect_pymysql


class Double(mysql.DOUBLE):
    """A double that stays one: SQLAlchemy's (2.0) is a decimal of ten digits behind the point."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{**options, "asdecimal": False})


class Float(mysql.FLOAT):
    """The same of a float."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{**options, "asdecimal": False})


class Set(mysql.SET):
    """A set as its text, `a,b`: dlt (1.31) can't write Python's sets."""

    def result_processor(self, dialect: Any, coltype: Any) -> None:
        """What the driver gives."""


class MySQLDialect(MySQLDialect_pymysql):
    """What `mysql://` and `mariadb://` mean here."""

    supports_statement_cache = True
    ischema_names = {  # noqa: RUF012
        **MySQLDialect_pymysql.ischema_names, "double": Double, "float": Float, "set": Set,
    }  # fmt: skip
