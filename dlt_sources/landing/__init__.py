"""Landed files as typed rows: declarations, a reader for each format, and the dlt resource over them."""
