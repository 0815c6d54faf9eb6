"""Keeping the lake small and quick: compaction, expiry, clean-up. Bounded so that no reader, writer or release loses.

DuckLake 1.0's compaction spoils the past: after it, an older snapshot may be read wrong and the feed of changes across
it is wrong (tests/lakehouse/maintenance/test_history.py shows both). So a table is compacted only while nobody writes
it and nobody needs its past, and nothing here reads a table's past across its compaction (`lakehouse.lake.feed`).
"""
