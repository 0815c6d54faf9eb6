"""A loader that loses its locks in the middle and doesn't know: a process of its own, told what to do line by line."""

from __future__ import annotations

import sys
from contextlib import closing

from lakehouse.lake.ducklake import Lake
from lakehouse.settings import load_settings
from lakehouse.writing.loads import loading


def main() -> None:
    """`begin` a transaction before it is too late or after; then say what became of the commit."""
    lake = Lake(load_settings())
    with loading(lake, "shop", {"raw.shop__t": None}, run="the late one"), closing(lake.connect()) as connection:
        if sys.argv[1] == "before":
            connection.execute("BEGIN")
            connection.execute("INSERT INTO raw.shop__t VALUES (2)")
        print("ready", flush=True)
        sys.stdin.readline()
        try:
            connection.execute("COMMIT" if sys.argv[1] == "before" else "INSERT INTO raw.shop__t VALUES (2)")
        except Exception as error:
            print(f"refused: {error}", flush=True)
            raise
        print("committed", flush=True)


if __name__ == "__main__":
    main()
