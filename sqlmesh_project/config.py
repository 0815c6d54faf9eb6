"""SQLMesh's configuration: the lake, the state beside its catalog, the linter. All of it comes from the settings."""

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from sqlmesh.core.config import Config, DuckDBConnectionConfig, GatewayConfig, ModelDefaultsConfig
from sqlmesh.core.config.connection import DuckDBAttachOptions, PostgresConnectionConfig
from sqlmesh.core.config.format import FormatConfig
from sqlmesh.core.config.linter import LinterConfig

from lakehouse.lake.ducklake import ALIAS, METADATA_SCHEMA, Lake
from lakehouse.lake.postgres import password
from lakehouse.settings import load_settings

settings = load_settings()
lake = Lake(settings)
postgres = urlsplit(lake.postgres_url)


class LakeConnection(DuckDBConnectionConfig):
    """DuckDB opened as everywhere else. SQLMesh (0.236) SETs options on the open connection, too late for one of them:
    each connection would spend 0.4 s of a processor on the signatures of extensions, which are checked elsewhere."""

    @property
    def _static_connection_kwargs(self) -> dict[str, Any]:
        return {"config": lake.duckdb_config()}


def in_sql(text: str) -> str:
    """SQLMesh 0.236 puts addresses between quotes as they are."""
    return text.replace("'", "''")


config = Config(
    project="",  # a name would make every Context read the state before it can show a model
    disable_anonymized_analytics=True,
    cache_dir=str(settings.cache_dir / "sqlmesh" / "context"),  # pickles: where nobody else may write
    default_gateway="lakehouse",
    pinned_environments={"qa"},  # it stays, as prod does; a developer's environment expires
    gateways={
        "lakehouse": GatewayConfig(
            connection=LakeConnection(
                catalogs={
                    ALIAS: DuckDBAttachOptions(
                        type="ducklake",
                        path=in_sql(lake.catalog),
                        data_path=in_sql(lake.data_path),
                        metadata_schema=METADATA_SCHEMA,
                    )
                },
                # No `extensions`: ATTACH loads what it needs.
                secrets=lake.duckdb_secrets(),
                connector_config={"TimeZone": "UTC"},
                register_comments=False,  # on views DuckLake answers with an error
                concurrent_tasks=1,
            ),
            state_connection=PostgresConnectionConfig(
                host=parse_qs(postgres.query).get("host", [unquote(postgres.hostname or "")])[0],
                port=postgres.port or 5432,
                user=unquote(postgres.username or ""),
                password=password(settings),
                sslmode=parse_qs(postgres.query).get("sslmode", [None])[0],
                database=unquote(postgres.path.strip("/")),
            ),
            state_schema="sqlmesh",
        ),
        # For `lakehouse ci check`: a lake and a state that end with the process.
        "throw_away": GatewayConfig(
            connection=LakeConnection(
                catalogs={
                    ALIAS: DuckDBAttachOptions(
                        type="ducklake",
                        path=":memory:",
                        data_path=in_sql(f"{settings.throw_away_dir}/"),
                        data_inlining_row_limit=1_000_000,  # into memory
                    )
                },
                connector_config={"TimeZone": "UTC", "threads": 1},
                register_comments=False,
                concurrent_tasks=1,
            ),
            state_connection=DuckDBConnectionConfig(),
        ),
    },
    model_defaults=ModelDefaultsConfig(dialect="duckdb", start="2009-12-01", cron="@daily"),
    format=FormatConfig(append_newline=True),
    linter=LinterConfig(
        enabled=True,
        rules=[
            "ambiguousorinvalidcolumn",
            "invalidselectstarexpansion",
            "noselectstar",
            "nomissingaudits",
            "nomissingexternalmodels",
            "norowlostatanedge",  # ours, in linter/
        ],
    ),
)
