"""Holds a DuckDB file open, as a run of somebody else does, until its standard input ends."""

import sys

import duckdb

connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
