"""PostgreSQL's system catalog of a release, in the DuckDB that holds its tables without rows.

Tables named as PostgreSQL's in a schema of their own, and macros for its functions. What a lake has none of (triggers,
inheritance, extensions, …) is there and empty, for clients join it.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from lakehouse.lake.ducklake import quoted
from lakehouse.query.engine.allowed import words
from lakehouse.query.engine.postgres_types import ARRAYS, JSON, TYPES, PgType

SCHEMA = "pgc"
VERSION = "PostgreSQL 16.0 (lakehouse, DuckDB inside)"
OWNER = "lakehouse"
FIRST_OID = 16_384
SCHEMAS_OID = 2_200
RELATIONS = words("""
pg_am pg_attrdef pg_attribute pg_auth_members pg_class pg_collation pg_constraint pg_cursors pg_database pg_depend
pg_description pg_enum pg_event_trigger pg_extension pg_foreign_data_wrapper pg_foreign_server pg_foreign_table
pg_get_keywords pg_index pg_indexes pg_inherits pg_language pg_matviews pg_namespace pg_opclass pg_operator
pg_partitioned_table pg_policy pg_proc pg_publication pg_publication_namespace pg_publication_rel pg_range pg_rewrite
pg_roles pg_rules pg_sequence pg_sequences pg_seclabel pg_settings pg_shdescription pg_stat_activity
pg_stat_user_tables pg_statistic_ext pg_tables pg_tablespace pg_timezone_names pg_trigger pg_type pg_user pg_views
""")
INFORMATION = words("""
check_constraints columns constraint_column_usage key_column_usage referential_constraints routines schemata
table_constraints tables views
""")
EMPTY = {
    "pg_attrdef": "oid BIGINT, adrelid BIGINT, adnum SMALLINT, adbin VARCHAR",
    "pg_auth_members": "roleid BIGINT, member BIGINT, grantor BIGINT, admin_option BOOLEAN",
    "pg_cursors": "name VARCHAR, statement VARCHAR, is_holdable BOOLEAN, is_binary BOOLEAN, is_scrollable BOOLEAN",
    "pg_depend": "classid BIGINT, objid BIGINT, objsubid INTEGER, refclassid BIGINT, refobjid BIGINT, "
    "refobjsubid INTEGER, deptype VARCHAR",
    "pg_enum": "oid BIGINT, enumtypid BIGINT, enumsortorder FLOAT, enumlabel VARCHAR",
    "pg_event_trigger": "oid BIGINT, evtname VARCHAR",
    "pg_extension": "oid BIGINT, extname VARCHAR, extowner BIGINT, extnamespace BIGINT, extversion VARCHAR",
    "pg_foreign_data_wrapper": "oid BIGINT, fdwname VARCHAR",
    "pg_foreign_server": "oid BIGINT, srvname VARCHAR, srvfdw BIGINT",
    "pg_foreign_table": "ftrelid BIGINT, ftserver BIGINT, ftoptions VARCHAR[]",
    "pg_indexes": "schemaname VARCHAR, tablename VARCHAR, indexname VARCHAR, tablespace VARCHAR, indexdef VARCHAR",
    "pg_inherits": "inhrelid BIGINT, inhparent BIGINT, inhseqno INTEGER, inhdetachpending BOOLEAN",
    "pg_language": "oid BIGINT, lanname VARCHAR",
    "pg_matviews": "schemaname VARCHAR, matviewname VARCHAR, matviewowner VARCHAR, definition VARCHAR",
    "pg_opclass": "oid BIGINT, opcname VARCHAR, opcnamespace BIGINT, opcdefault BOOLEAN, opcmethod BIGINT, "
    "opcintype BIGINT",
    "pg_operator": "oid BIGINT, oprname VARCHAR, oprnamespace BIGINT",
    "pg_partitioned_table": "partrelid BIGINT, partstrat VARCHAR, partnatts SMALLINT",
    "pg_policy": "oid BIGINT, polname VARCHAR, polrelid BIGINT, polcmd VARCHAR, polpermissive BOOLEAN, "
    "polroles BIGINT[], polqual VARCHAR, polwithcheck VARCHAR",
    "pg_proc": "oid BIGINT, proname VARCHAR, pronamespace BIGINT, prorettype BIGINT, proargtypes BIGINT[], "
    "proretset BOOLEAN, prokind VARCHAR, prosrc VARCHAR, pronargs SMALLINT, proargnames VARCHAR[], "
    "proargmodes VARCHAR[], proallargtypes BIGINT[], proowner BIGINT, prolang BIGINT, provolatile VARCHAR, "
    "proparallel VARCHAR, proisstrict BOOLEAN, prosecdef BOOLEAN, proleakproof BOOLEAN, proacl VARCHAR[], "
    "probin VARCHAR, prosqlbody VARCHAR, provariadic BIGINT, proargdefaults VARCHAR, proconfig VARCHAR[]",
    "pg_publication": "oid BIGINT, pubname VARCHAR, puballtables BOOLEAN",
    "pg_publication_namespace": "oid BIGINT, pnpubid BIGINT, pnnspid BIGINT",
    "pg_publication_rel": "oid BIGINT, prpubid BIGINT, prrelid BIGINT, prqual VARCHAR, prattrs BIGINT[]",
    "pg_range": "rngtypid BIGINT, rngsubtype BIGINT, rngmultitypid BIGINT",
    "pg_rewrite": "oid BIGINT, rulename VARCHAR, ev_class BIGINT, ev_enabled VARCHAR, ev_type VARCHAR",
    "pg_rules": "schemaname VARCHAR, tablename VARCHAR, rulename VARCHAR, definition VARCHAR",
    "pg_seclabel": "objoid BIGINT, classoid BIGINT, objsubid INTEGER, provider VARCHAR, label VARCHAR",
    "pg_sequence": "seqrelid BIGINT, seqtypid BIGINT, seqstart BIGINT, seqincrement BIGINT, seqmax BIGINT, "
    "seqmin BIGINT, seqcache BIGINT, seqcycle BOOLEAN",
    "pg_sequences": "schemaname VARCHAR, sequencename VARCHAR, sequenceowner VARCHAR",
    "pg_shdescription": "objoid BIGINT, classoid BIGINT, description VARCHAR",
    "pg_stat_activity": "datid BIGINT, datname VARCHAR, pid INTEGER, usename VARCHAR, state VARCHAR, query VARCHAR",
    "pg_statistic_ext": "oid BIGINT, stxrelid BIGINT, stxnamespace BIGINT, stxname VARCHAR, stxkeys INTEGER[], "
    "stxkind VARCHAR[], stxstattarget INTEGER",
    "pg_trigger": "oid BIGINT, tgname VARCHAR, tgrelid BIGINT, tgisinternal BOOLEAN, tgenabled VARCHAR, "
    "tgparentid BIGINT, tgconstraint BIGINT, tgfoid BIGINT, tgtype SMALLINT",
    "pg_views": "schemaname VARCHAR, viewname VARCHAR, viewowner VARCHAR, definition VARCHAR",
    "information_check_constraints": "constraint_catalog VARCHAR, constraint_schema VARCHAR, "
    "constraint_name VARCHAR, check_clause VARCHAR",
    "information_constraint_column_usage": "table_catalog VARCHAR, table_schema VARCHAR, table_name VARCHAR, "
    "column_name VARCHAR, constraint_catalog VARCHAR, constraint_schema VARCHAR, constraint_name VARCHAR",
    "information_referential_constraints": "constraint_catalog VARCHAR, constraint_schema VARCHAR, "
    "constraint_name VARCHAR, unique_constraint_catalog VARCHAR, unique_constraint_schema VARCHAR, "
    "unique_constraint_name VARCHAR, match_option VARCHAR, update_rule VARCHAR, delete_rule VARCHAR",
    "information_routines": "routine_catalog VARCHAR, routine_schema VARCHAR, routine_name VARCHAR, "
    "routine_type VARCHAR, data_type VARCHAR, specific_name VARCHAR",
    "information_views": "table_catalog VARCHAR, table_schema VARCHAR, table_name VARCHAR, view_definition VARCHAR",
}
"""What is there and empty, with the columns that clients name."""

MACROS = {
    "current_schemas(x)": "CASE WHEN x THEN ['pg_catalog', 'public'] ELSE ['public'] END",
    "pg_backend_pid()": "1",
    "pg_is_in_recovery()": "true",
    "pg_postmaster_start_time()": "TIMESTAMPTZ '2000-01-01 00:00:00+00'",
    "pg_encoding_to_char(x)": "'UTF8'",
    "pg_char_to_encoding(x)": "6",
    "pg_get_userbyid(x)": f"'{OWNER}'",
    "pg_table_is_visible(x)": "true",
    "pg_type_is_visible(x)": "true",
    "pg_function_is_visible(x)": "true",
    "pg_operator_is_visible(x)": "true",
    "pg_collation_is_visible(x)": "true",
    "pg_opclass_is_visible(x)": "true",
    "pg_statistics_obj_is_visible(x)": "true",
    "pg_get_expr(a, b)": "NULL::VARCHAR",
    "pg_get_expr(a, b, c)": "NULL::VARCHAR",
    "pg_get_viewdef(a)": "NULL::VARCHAR",
    "pg_get_viewdef(a, b)": "NULL::VARCHAR",
    "pg_get_indexdef(a)": f"(SELECT indexdef FROM {SCHEMA}.own_keys WHERE indexrelid = a)",
    "pg_get_indexdef(a, b, c)": f"(SELECT CASE WHEN b = 0 THEN indexdef ELSE names[b] END FROM {SCHEMA}.own_keys "
    "WHERE indexrelid = a)",
    "pg_get_constraintdef(a)": f"(SELECT condef FROM {SCHEMA}.own_keys WHERE conoid = a)",
    "pg_get_constraintdef(a, b)": f"(SELECT condef FROM {SCHEMA}.own_keys WHERE conoid = a)",
    "_pg_expandarray(a)": "unnest(list_transform(a, (x, n) -> {'x': x, 'n': n}))",
    "pg_index_column_has_property(a, b, c)": "c IN ('asc', 'nulls_last', 'orderable', 'search_array')",
    "pg_get_partkeydef(a)": "NULL::VARCHAR",
    "pg_get_ruledef(a, b)": "NULL::VARCHAR",
    "pg_get_triggerdef(a, b)": "NULL::VARCHAR",
    "pg_partition_ancestors(a)": "a::BIGINT",
    "pg_get_function_sqlbody(a)": "NULL::VARCHAR",
    "getdatabaseencoding()": "'UTF8'",
    "pg_get_serial_sequence(a, b)": "NULL::VARCHAR",
    "pg_get_function_identity_arguments(a)": "''",
    "pg_get_function_result(a)": "''",
    "pg_get_function_arguments(a)": "''",
    "pg_get_statisticsobjdef_columns(a)": "NULL::VARCHAR",
    "pg_relation_is_publishable(a)": "false",
    "pg_relation_size(a)": "0::BIGINT",
    "pg_total_relation_size(a)": "0::BIGINT",
    "pg_table_size(a)": "0::BIGINT",
    "pg_indexes_size(a)": "0::BIGINT",
    "pg_database_size(a)": "0::BIGINT",
    "pg_tablespace_location(a)": "''",
    "pg_has_role(a, b)": "true",
    "pg_has_role(a, b, c)": "true",
    "pg_my_temp_schema()": "0::BIGINT",
    "pg_is_other_temp_schema(a)": "false",
    "pg_advisory_unlock_all()": "NULL::VARCHAR",
    "pg_client_encoding()": "'UTF8'",
    "pg_conf_load_time()": "TIMESTAMPTZ '2000-01-01 00:00:00+00'",
    "txid_current()": "1::BIGINT",
    "inet_server_addr()": "NULL::VARCHAR",
    "inet_server_port()": "NULL::INTEGER",
    "inet_client_addr()": "NULL::VARCHAR",
    "set_config(a, b, c)": "b",
    "current_setting(a)": f"(SELECT setting FROM {SCHEMA}.pg_settings WHERE name = lower(a))",
    "current_setting(a, b)": f"(SELECT setting FROM {SCHEMA}.pg_settings WHERE name = lower(a))",
    "obj_description(a)": f"(SELECT description FROM {SCHEMA}.pg_description WHERE objoid = a AND objsubid = 0)",
    "obj_description(a, b)": f"(SELECT description FROM {SCHEMA}.pg_description WHERE objoid = a AND objsubid = 0)",
    "col_description(a, b)": f"(SELECT description FROM {SCHEMA}.pg_description WHERE objoid = a AND objsubid = b)",
    "shobj_description(a, b)": "NULL::VARCHAR",
    "format_type(a, b)": f"(SELECT CASE WHEN a = 1700 AND b > 4 THEN 'numeric(' || ((b - 4) >> 16) || ',' || "
    f"((b - 4) & 65535) || ')' ELSE (SELECT fullname FROM {SCHEMA}.own_types WHERE oid = a) END)",
    "to_regclass(a)": f"(SELECT any_value(oid) FROM {SCHEMA}.own_names WHERE name = replace(a, '\"', '') "
    "OR full_name = replace(a, '\"', ''))",
    "to_regtype(a)": f"(SELECT any_value(oid) FROM {SCHEMA}.own_types WHERE typname = a OR fullname = a)",
    "regclass_name(a)": f"(SELECT any_value(full_name) FROM {SCHEMA}.own_names WHERE oid = TRY_CAST(a AS BIGINT))",
    "quote_ident(a)": "CASE WHEN regexp_full_match(a, '[a-z_][a-z0-9_]*') THEN a "
    "ELSE '\"' || replace(a, '\"', '\"\"') || '\"' END",
    **{
        f"{name}({given})": answer
        for name, answer in {
            "has_table_privilege": "lower({0}) LIKE '%select%'",
            "has_column_privilege": "lower({0}) LIKE '%select%'",
            "has_any_column_privilege": "lower({0}) LIKE '%select%'",
            "has_schema_privilege": "lower({0}) = 'usage'",
            "has_database_privilege": "lower({0}) = 'connect'",
            "has_sequence_privilege": "false",
            "has_function_privilege": "true",
        }.items()
        for given, answer in (
            [("a, b", answer.format("b")), ("a, b, c", answer.format("c"))]
            + ([("a, b, c, d", answer.format("d"))] if name == "has_column_privilege" else [])
        )
    },
}
ARRAY_OF = {item: array for array, item in ARRAYS.items()}
CONSTANTS = {
    "version": VERSION, "current_database": "lakehouse", "current_catalog": "lakehouse", "current_schema": "public",
    "current_user": OWNER, "session_user": OWNER, "current_role": OWNER, "user": OWNER,
}  # fmt: skip
"""Functions and words that say the same of every release."""
FUNCTIONS = frozenset(macro.partition("(")[0] for macro in MACROS)
OWN = RELATIONS | {f"information_{name}" for name in INFORMATION}
"""The relations of SCHEMA that a statement may name."""

TYPE_NAMES = {
    "bool": "boolean", "int2": "smallint", "int4": "integer", "int8": "bigint", "float4": "real",
    "float8": "double precision", "timestamp": "timestamp without time zone", "time": "time without time zone",
    "timestamptz": "timestamp with time zone", "varchar": "character varying", "bpchar": "character",
}  # fmt: skip
SETTINGS = {
    "server_version": "16.0", "server_version_num": "160000", "server_encoding": "UTF8", "client_encoding": "UTF8",
    "timezone": "UTC", "datestyle": "ISO, MDY", "intervalstyle": "postgres", "standard_conforming_strings": "on",
    "integer_datetimes": "on", "default_transaction_read_only": "on", "transaction_read_only": "on",
    "transaction_isolation": "repeatable read", "default_transaction_isolation": "repeatable read",
    "max_identifier_length": "63", "max_index_keys": "32", "search_path": "public", "is_superuser": "off",
    "in_hot_standby": "on", "session_authorization": OWNER, "lc_collate": "C", "lc_ctype": "C", "bytea_output": "hex",
    "extra_float_digits": "1", "application_name": "", "statement_timeout": "0", "jit": "off",
    "block_size": "8192", "max_connections": "1000", "row_security": "off", "lc_messages": "C",
}  # fmt: skip


def fill(connection: duckdb.DuckDBPyConnection) -> None:
    """Make SCHEMA beside the tables."""
    run = connection.execute
    run("BEGIN")
    run(f"CREATE SCHEMA lakehouse.{SCHEMA}")
    run(f"USE lakehouse.{SCHEMA}")
    for name, columns in EMPTY.items():
        run(f"CREATE TABLE {name} ({columns})")
    _fill_types(connection)
    for statement in _RELATIONS.split(";\n"):
        if statement.strip():
            run(statement)
    _table(
        connection, "pg_settings",
        "name, setting, NULL::VARCHAR AS unit, NULL::VARCHAR AS category, NULL::VARCHAR AS short_desc",
        "name, setting", list(SETTINGS.items()),
    )  # fmt: skip
    overloads: dict[str, list[str]] = {}
    for macro, answer in MACROS.items():
        name, _, given = macro.partition("(")
        overloads.setdefault(name, []).append(f"({given} AS ({answer})")
    for name, found in overloads.items():
        run(f'CREATE MACRO "{name}" {", ".join(found)}')
    run("COMMIT")


def _fill_types(connection: duckdb.DuckDBPyConnection) -> None:
    others = [PgType(18, 1, "char"), PgType(19, 64, "name"), PgType(26, 4, "oid"), PgType(1043, -1, "varchar"),
              PgType(1042, -1, "bpchar"), PgType(3802, -1, "jsonb"), PgType(2205, 4, "regclass")]  # fmt: skip
    kinds = {one.oid: one for one in (*TYPES.values(), JSON, *others)}
    rows = [
        (one.oid, one.name, one.size, TYPE_NAMES.get(one.name, one.name), _category(one), 0, ARRAY_OF.get(one.oid, 0))
        for one in kinds.values()
    ]
    rows += [(array, f"_{name}", -1, f"{full}[]", "A", oid, 0) for oid, name, _, full, _, _, array in rows if array]
    names = "oid, typname, typlen, fullname, typcategory, typelem, typarray"
    chosen = names.replace("oid", "oid::BIGINT AS oid", 1).replace("typlen", "typlen::SMALLINT AS typlen")
    chosen = chosen.replace("typelem, typarray", "typelem::BIGINT AS typelem, typarray::BIGINT AS typarray")
    _table(connection, "own_types", chosen, names, rows)
    known = [(name, one.oid) for name, one in TYPES.items()]
    _table(connection, "own_kinds", "duckdb, oid::BIGINT AS oid", "duckdb, oid", known)


def _table(
    connection: duckdb.DuckDBPyConnection, name: str, chosen: str, columns: str, rows: Sequence[tuple[str | int, ...]]
) -> None:
    """Written into the statement: DuckDB's client imports pandas to look at a parameter that is a list."""
    values = ", ".join(
        f"({', '.join(quoted(one) if isinstance(one, str) else str(one) for one in row)})" for row in rows
    )
    connection.execute(f"CREATE TABLE {name} AS SELECT {chosen} FROM (VALUES {values}) AS t({columns})")


def _category(one: PgType) -> str:
    if one.name.startswith(("int", "float", "num", "oid", "reg")) and one.name != "interval":
        return "N"
    return {"bool": "B", "interval": "T", "json": "U", "jsonb": "U", "bytea": "U", "uuid": "U"}.get(
        one.name, "D" if one.name.startswith(("date", "time")) else "S"
    )


_RELATIONS = f"""
CREATE TABLE own_tables AS SELECT {FIRST_OID} + row_number() OVER (ORDER BY schema_name, table_name) AS oid,
  schema_name, table_name, comment, column_count, estimated_size, table_oid FROM duckdb_tables()
  WHERE schema_name <> '{SCHEMA}';
CREATE TABLE pg_namespace AS SELECT {SCHEMAS_OID} + 1 + row_number() OVER (ORDER BY schema_name) AS oid,
  schema_name AS nspname, 10::BIGINT AS nspowner, NULL::VARCHAR[] AS nspacl
  FROM (SELECT DISTINCT schema_name FROM own_tables WHERE schema_name <> 'public')
  UNION ALL SELECT 11, 'pg_catalog', 10, NULL UNION ALL SELECT {SCHEMAS_OID}, 'public', 10, NULL
  UNION ALL SELECT 13, 'information_schema', 10, NULL;
CREATE TABLE own_columns AS SELECT t.oid AS attrelid, c.schema_name, c.table_name, c.column_name, c.comment,
  c.column_index::SMALLINT AS attnum, c.data_type, NOT c.is_nullable AS attnotnull, c.column_default,
  CASE WHEN c.data_type LIKE '%]' OR regexp_matches(c.data_type, '^(STRUCT|MAP|UNION|VARIANT)') THEN 114
       WHEN c.data_type LIKE 'DECIMAL%' THEN 1700
       ELSE coalesce((SELECT any_value(k.oid) FROM own_kinds k WHERE k.duckdb = c.data_type), 25) END AS atttypid,
  CASE WHEN c.data_type LIKE 'DECIMAL%' AND c.data_type NOT LIKE '%]'
       THEN ((c.numeric_precision << 16) | c.numeric_scale) + 4 ELSE -1 END::INTEGER AS atttypmod
  FROM duckdb_columns() c JOIN own_tables t USING (schema_name, table_name);
CREATE TABLE own_keys AS SELECT {FIRST_OID} * 2 + row_number() OVER (ORDER BY k.schema_name, k.table_name)
  AS indexrelid, {FIRST_OID} * 3 + row_number() OVER (ORDER BY k.schema_name, k.table_name) AS conoid,
  t.oid AS indrelid, k.schema_name, k.table_name, k.table_name || '_pkey' AS name, constraint_column_names AS names,
  list_transform(constraint_column_indexes, x -> x::SMALLINT + 1::SMALLINT) AS numbers,
  'PRIMARY KEY (' || array_to_string(constraint_column_names, ', ') || ')' AS condef,
  'CREATE UNIQUE INDEX ' || k.table_name || '_pkey ON ' || k.schema_name || '.' || k.table_name || ' USING btree ('
  || array_to_string(constraint_column_names, ', ') || ')' AS indexdef
  FROM duckdb_constraints() k JOIN own_tables t USING (schema_name, table_name)
  WHERE constraint_type = 'PRIMARY KEY';
CREATE TABLE pg_class AS SELECT t.oid, 1259::BIGINT AS tableoid, table_name AS relname, n.oid AS relnamespace,
  0::BIGINT AS reltype, 0::BIGINT AS reloftype, 10::BIGINT AS relowner, 2::BIGINT AS relam, 0::BIGINT AS relfilenode,
  0::BIGINT AS reltablespace, 1::INTEGER AS relpages, estimated_size::FLOAT AS reltuples, 0 AS relallvisible,
  0::BIGINT AS reltoastrelid, EXISTS (SELECT 1 FROM own_keys k WHERE k.indrelid = t.oid) AS relhasindex,
  false AS relisshared, 'p' AS relpersistence, 'r' AS relkind, column_count::SMALLINT AS relnatts,
  0::SMALLINT AS relchecks, false AS relhasrules, false AS relhastriggers, false AS relhassubclass,
  false AS relrowsecurity, false AS relforcerowsecurity, true AS relispopulated, 'd' AS relreplident,
  false AS relispartition, 0::BIGINT AS relrewrite, NULL::VARCHAR[] AS relacl, NULL::VARCHAR[] AS reloptions,
  NULL::VARCHAR AS relpartbound, false AS relhasoids
  FROM own_tables t JOIN pg_namespace n ON nspname = schema_name;
INSERT INTO pg_class SELECT c.* REPLACE (indexrelid AS oid, name AS relname, 'i' AS relkind, 403 AS relam,
  len(names) AS relnatts, false AS relhasindex, 'n' AS relreplident) FROM own_keys JOIN pg_class c ON c.oid = indrelid;
CREATE TABLE own_names AS SELECT c.oid, relname AS name, nspname || '.' || relname AS full_name
  FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
  UNION ALL SELECT 1259, 'pg_class', 'pg_catalog.pg_class' UNION ALL SELECT 2615, 'pg_namespace',
  'pg_catalog.pg_namespace' UNION ALL SELECT 1247, 'pg_type', 'pg_catalog.pg_type'
  UNION ALL SELECT 1255, 'pg_proc', 'pg_catalog.pg_proc' UNION ALL SELECT 2606, 'pg_constraint',
  'pg_catalog.pg_constraint' UNION ALL SELECT 1249, 'pg_attribute', 'pg_catalog.pg_attribute';
CREATE TABLE pg_attribute AS SELECT attrelid, column_name AS attname, atttypid::BIGINT AS atttypid,
  -1 AS attstattarget, coalesce(y.typlen, -1)::SMALLINT AS attlen, attnum, 0 AS attndims, -1 AS attcacheoff,
  atttypmod, false AS attbyval, 'i' AS attalign, 'p' AS attstorage, '' AS attcompression, attnotnull,
  false AS atthasdef, false AS atthasmissing, '' AS attidentity, '' AS attgenerated, false AS attisdropped,
  true AS attislocal, 0 AS attinhcount, 0::BIGINT AS attcollation, NULL::VARCHAR[] AS attacl,
  NULL::VARCHAR[] AS attoptions, NULL::VARCHAR[] AS attfdwoptions, NULL::VARCHAR AS attmissingval
  FROM (FROM own_columns UNION ALL BY NAME SELECT * REPLACE (indexrelid AS attrelid, nth::SMALLINT AS attnum)
    FROM own_columns JOIN (SELECT indexrelid, indrelid AS attrelid, unnest(names) AS column_name,
      unnest(range(1, len(names) + 1)) AS nth FROM own_keys) USING (attrelid, column_name))
  LEFT JOIN own_types y ON y.oid = atttypid;
CREATE TABLE pg_type AS SELECT oid, typname, 11::BIGINT AS typnamespace, 10::BIGINT AS typowner, typlen,
  typlen > 0 AS typbyval, 'b' AS typtype, typcategory, false AS typispreferred, true AS typisdefined, ',' AS typdelim,
  0::BIGINT AS typrelid, typelem, typarray, if(typelem > 0, 'array_', typname) || 'in' AS typinput,
  if(typelem > 0, 'array_', typname) || 'out' AS typoutput, if(typelem > 0, 'array_', typname) || 'recv' AS typreceive,
  if(typelem > 0, 'array_', typname) || 'send' AS typsend, '-' AS typmodin,
  '-' AS typmodout, '-' AS typanalyze, 'i' AS typalign, 'p' AS typstorage, false AS typnotnull,
  0::BIGINT AS typbasetype, -1 AS typtypmod, 0 AS typndims, 0::BIGINT AS typcollation, NULL::VARCHAR AS typdefault,
  NULL::VARCHAR[] AS typacl, 0::BIGINT AS typsubscript FROM own_types;
CREATE TABLE pg_index AS SELECT indexrelid, indrelid, len(names)::SMALLINT AS indnatts,
  len(names)::SMALLINT AS indnkeyatts, true AS indisunique, false AS indnullsnotdistinct, true AS indisprimary,
  false AS indisexclusion, true AS indimmediate, false AS indisclustered, true AS indisvalid, false AS indcheckxmin,
  true AS indisready, true AS indislive, false AS indisreplident, numbers::USMALLINT[] AS indkey,
  NULL::VARCHAR AS indexprs, NULL::VARCHAR AS indpred, list_transform(names, x -> 0::USMALLINT) AS indoption,
  list_transform(names, x -> 0::BIGINT) AS indcollation, list_transform(names, x -> 0::BIGINT) AS indclass
  FROM own_keys;
CREATE TABLE pg_constraint AS SELECT conoid AS oid, name AS conname, n.oid AS connamespace, 'p' AS contype,
  false AS condeferrable, false AS condeferred, true AS convalidated, indrelid AS conrelid, 0::BIGINT AS contypid,
  indexrelid AS conindid, 0::BIGINT AS conparentid, 0::BIGINT AS confrelid, ' ' AS confupdtype, ' ' AS confdeltype,
  ' ' AS confmatchtype, true AS conislocal, 0 AS coninhcount, true AS connoinherit, numbers AS conkey,
  NULL::SMALLINT[] AS confkey, NULL::VARCHAR AS conbin, NULL::BIGINT[] AS conexclop
  FROM own_keys JOIN pg_namespace n ON nspname = schema_name;
CREATE TABLE pg_description AS SELECT oid AS objoid, 1259::BIGINT AS classoid, 0 AS objsubid, comment AS description
  FROM own_tables WHERE comment <> '' UNION ALL SELECT attrelid, 1259, attnum, comment FROM own_columns
  WHERE comment <> '';
CREATE TABLE pg_database AS SELECT 1::BIGINT AS oid, 'lakehouse' AS datname, 10::BIGINT AS datdba, 6 AS encoding,
  'c' AS datlocprovider, false AS datistemplate, true AS datallowconn, -1 AS datconnlimit, 'C' AS datcollate,
  'C' AS datctype, NULL::VARCHAR AS daticulocale, NULL::VARCHAR AS daticurules, NULL::VARCHAR AS datcollversion,
  1663::BIGINT AS dattablespace, NULL::VARCHAR[] AS datacl, false AS dathasloginevt, NULL::VARCHAR AS datlocale;
CREATE TABLE pg_roles AS SELECT 10::BIGINT AS oid, '{OWNER}' AS rolname, false AS rolsuper, true AS rolinherit,
  false AS rolcreaterole, false AS rolcreatedb, true AS rolcanlogin, false AS rolreplication, -1 AS rolconnlimit,
  '********' AS rolpassword, NULL::TIMESTAMPTZ AS rolvaliduntil, false AS rolbypassrls, NULL::VARCHAR[] AS rolconfig;
CREATE TABLE pg_user AS SELECT rolname AS usename, oid AS usesysid, false AS usecreatedb, false AS usesuper,
  false AS userepl, false AS usebypassrls FROM pg_roles;
CREATE TABLE pg_am AS SELECT 2::BIGINT AS oid, 'heap' AS amname, 't' AS amtype
  UNION ALL SELECT 403, 'btree', 'i';
CREATE TABLE pg_collation AS SELECT 100::BIGINT AS oid, 'default' AS collname, 11::BIGINT AS collnamespace,
  'd' AS collprovider, 6 AS collencoding, true AS collisdeterministic, NULL::VARCHAR AS collcollate,
  NULL::VARCHAR AS collctype, NULL::VARCHAR AS colliculocale, NULL::VARCHAR AS collicurules,
  NULL::VARCHAR AS colllocale;
CREATE TABLE pg_tablespace AS SELECT 1663::BIGINT AS oid, 'pg_default' AS spcname, 10::BIGINT AS spcowner,
  NULL::VARCHAR[] AS spcacl, NULL::VARCHAR[] AS spcoptions;
CREATE TABLE pg_timezone_names AS SELECT 'UTC' AS name, 'UTC' AS abbrev, INTERVAL 0 HOURS AS utc_offset,
  false AS is_dst;
CREATE TABLE pg_get_keywords AS SELECT keyword_name AS word, upper(keyword_category[1]) AS catcode,
  keyword_category AS catdesc FROM duckdb_keywords();
CREATE TABLE pg_tables AS SELECT schema_name AS schemaname, table_name AS tablename, '{OWNER}' AS tableowner,
  NULL::VARCHAR AS tablespace, false AS hasindexes, false AS hasrules, false AS hastriggers, false AS rowsecurity
  FROM own_tables;
CREATE TABLE pg_stat_user_tables AS SELECT oid AS relid, schema_name AS schemaname, table_name AS relname,
  estimated_size AS n_live_tup, 0::BIGINT AS seq_scan FROM own_tables;
CREATE TABLE information_schemata AS SELECT 'lakehouse' AS catalog_name, nspname AS schema_name,
  '{OWNER}' AS schema_owner, NULL::VARCHAR AS default_character_set_catalog FROM pg_namespace;
CREATE TABLE information_tables AS SELECT 'lakehouse' AS table_catalog, schema_name AS table_schema, table_name,
  'BASE TABLE' AS table_type, 'NO' AS is_insertable_into, 'NO' AS is_typed, comment AS table_comment FROM own_tables;
CREATE TABLE information_columns AS SELECT 'lakehouse' AS table_catalog, schema_name AS table_schema, table_name,
  column_name, attnum::INTEGER AS ordinal_position, NULL::VARCHAR AS column_default,
  if(attnotnull, 'NO', 'YES') AS is_nullable, y.fullname AS data_type, NULL::INTEGER AS character_maximum_length,
  NULL::INTEGER AS character_octet_length,
  CASE WHEN atttypid = 1700 AND atttypmod > 0 THEN (atttypmod - 4) >> 16 WHEN atttypid = 21 THEN 16
       WHEN atttypid = 23 THEN 32 WHEN atttypid = 20 THEN 64 END AS numeric_precision,
  CASE WHEN y.typcategory = 'N' THEN if(atttypid = 1700, 10, 2) END AS numeric_precision_radix,
  CASE WHEN atttypid = 1700 AND atttypmod > 0 THEN (atttypmod - 4) & 65535 WHEN atttypid IN (20, 21, 23) THEN 0 END
  AS numeric_scale, CASE WHEN y.typname LIKE 'time%' THEN 6 END AS datetime_precision,
  NULL::VARCHAR AS interval_type, NULL::VARCHAR AS character_set_name, NULL::VARCHAR AS collation_name,
  NULL::VARCHAR AS domain_name, 'lakehouse' AS udt_catalog, 'pg_catalog' AS udt_schema, y.typname AS udt_name,
  'NO' AS is_identity, NULL::VARCHAR AS identity_generation, 'NEVER' AS is_generated,
  NULL::VARCHAR AS generation_expression, 'NO' AS is_updatable, comment AS column_comment
  FROM own_columns LEFT JOIN own_types y ON y.oid = atttypid;
CREATE TABLE information_table_constraints AS SELECT 'lakehouse' AS constraint_catalog, schema_name AS
  constraint_schema, name AS constraint_name, 'lakehouse' AS table_catalog, schema_name AS table_schema, table_name,
  'PRIMARY KEY' AS constraint_type, 'NO' AS is_deferrable, 'NO' AS initially_deferred FROM own_keys;
CREATE TABLE information_key_column_usage AS SELECT 'lakehouse' AS constraint_catalog, schema_name AS
  constraint_schema, name AS constraint_name, 'lakehouse' AS table_catalog, schema_name AS table_schema, table_name,
  unnest(names) AS column_name, unnest(range(1, len(names) + 1))::INTEGER AS ordinal_position,
  NULL::INTEGER AS position_in_unique_constraint FROM own_keys
"""
