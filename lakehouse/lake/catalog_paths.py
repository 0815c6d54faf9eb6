"""Where DuckLake's catalog says that files lie, as SQL over `ducklake_table AS t` and `ducklake_schema AS s`.

A path is relative to its table's folder, that to its schema's, that to the lake's own, unless it says otherwise.
"""

from lakehouse.lake.ducklake import METADATA_SCHEMA

LAKE_FOLDER = f"(SELECT value FROM {METADATA_SCHEMA}.ducklake_metadata WHERE key = 'data_path' AND scope IS NULL)"

TABLE_FOLDER = f"""
    CASE WHEN NOT t.path_is_relative THEN t.path
         WHEN NOT s.path_is_relative THEN s.path || t.path
         ELSE {LAKE_FOLDER} || s.path || t.path END
"""

FILE_ADDRESS = f"CASE WHEN file.path_is_relative THEN {TABLE_FOLDER} || file.path ELSE file.path END"
"""Of a data or delete file, named `file`."""
