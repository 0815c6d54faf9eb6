"""Landed files as typed rows: declarations, CSV and Parquet readers, and the dlt resource over them."""
