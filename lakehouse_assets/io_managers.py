"""Zones as IO managers: the same assets on a folder and on S3.

`published` takes a handle (which model of which release) and streams the rows from the lake itself. It takes users' own
assets too: DataFrames, Arrow tables, streams of batches, lazy frames, one file a partition.
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

import dagster as dg
import duckdb
import psycopg
from dagster import UPathIOManager

from lakehouse.lake.ducklake import Lake, LakeError
from lakehouse.lake.postgres import PostgresError, connect
from lakehouse.landing.zones import LandingFolder
from lakehouse.releases import publishing
from lakehouse.releases.log import Release, ReleaseError, environment_folder
from lakehouse.releases.manifest import Manifest, PublishedTable
from lakehouse.releases.tables import PublishError, Written, publish_table
from lakehouse.storage import Storage, StorageError
from lakehouse.writing.graph import ServedTable
from lakehouse.writing.locks import LockTimeoutError
from lakehouse_assets.resources import StorageResource

if TYPE_CHECKING:
    from upath import UPath


CHANGED, UNCHANGED = "changed", "nothing"


@dataclass(frozen=True)
class ToPublish:
    """What an asset of the published zone returns: a served model of a release. Its rows stay in the lake."""

    release: Release
    served: ServedTable
    before: Manifest | None = None
    elsewhere: Manifest | None = None
    let_go: Callable[[], object] = lambda: None
    """Called when it can't be written: the asset, which holds locks, is not told that, and ends with its process."""


@dataclass(frozen=True)
class Handed:
    """What a published asset gives to those that load it: the table's files in that release."""

    release: int
    table: PublishedTable


class _StorageIOManager(UPathIOManager):
    """UPathIOManager over our storage. A path is a key of it."""

    def __init__(self, storage: Storage, folder: str) -> None:
        from upath import UPath

        self.storage = storage
        super().__init__(base_path=UPath(folder))

    def path_exists(self, path: "UPath") -> bool:
        """Ask the storage."""
        return self.storage.find(path.as_posix()) is not None

    def unlink(self, path: "UPath") -> None:
        """Delete the object."""
        self.storage.delete([path.as_posix()])

    def make_directory(self, path: "UPath") -> None:
        """The storage makes what it needs."""


def handed(storage: Storage, environment: str, key: dg.AssetKey) -> Handed:
    """What the IO manager wrote last for a published asset."""
    content, _ = storage.read(f"{environment_folder(environment)}/assets/{'/'.join(key.path)}.json")
    stored = json.loads(content)
    return Handed(stored["release"], PublishedTable.of(stored["table"]))


@contextmanager
def _letting_go(work: ToPublish) -> Iterator[None]:
    try:
        yield
    except BaseException:
        work.let_go()
        raise


class ZoneIOManager(_StorageIOManager):
    """The published zone of one environment."""

    def __init__(self, lake: Lake, storage: Storage, environment: str) -> None:
        super().__init__(storage, f"{environment_folder(environment)}/assets")
        self.lake = lake
        self.environment = environment
        self._written: dict[str, Written] = {}
        self._rows = 0

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """One object; for several partitions in one run a mapping of partition key to object."""
        if not context.has_asset_partitions or len(context.asset_partition_keys) == 1:
            super().handle_output(context, obj)
            return
        paths = self._get_paths_for_partitions(context)
        if not isinstance(obj, Mapping) or obj.keys() != paths.keys():
            raise dg.DagsterInvariantViolationError(
                f"{context.asset_key.to_user_string()} was asked for {len(paths)} partitions: return a dict with one "
                "object for each partition key."
            )
        rows = 0
        for key, path in paths.items():
            self.dump_to_path(context, obj[key], path)
            rows += self._rows
        context.add_output_metadata(
            {"files": dg.MetadataValue.json([self._with_parquet(path).name for path in paths.values()]), "rows": rows}
        )

    def dump_to_path(self, context: dg.OutputContext, obj: Any, path: "UPath") -> None:
        """Write whole or not at all."""
        if isinstance(obj, ToPublish):
            with _letting_go(obj), explaining(self.lake, obj.release):
                done = publish_table(self.lake, obj.release, obj.served, obj.before, obj.elsewhere)
                self._written[path.as_posix()] = done
                entry = {"release": obj.release.number, "table": asdict(done.table)}
                self.storage.write(f"{path.as_posix()}.json", json.dumps(entry).encode())
            return
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "part.parquet"
            self._rows = write_parquet(obj, target)
            self.storage.upload(target, self._with_parquet(path).as_posix())

    def load_from_path(self, context: dg.InputContext, path: "UPath") -> Any:
        """A published table's handle, or a user's frame in the type that the asset asks for."""
        if self.storage.find(f"{path.as_posix()}.json") is not None:
            return handed(self.storage, self.environment, context.asset_key)
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "part.parquet"
            self.storage.download(self._with_parquet(path).as_posix(), source)
            return read_parquet(source, context.dagster_type.typing_type)

    def path_exists(self, path: "UPath") -> bool:
        """Either kind."""
        return any(self.storage.find(key) for key in (f"{path.as_posix()}.json", self._with_parquet(path).as_posix()))

    def get_metadata(self, context: dg.OutputContext, obj: Any) -> dict[str, dg.MetadataValue]:
        """What a published table's page shows."""
        if not isinstance(obj, ToPublish):
            return {"dagster/row_count": dg.MetadataValue.int(self._rows)} if not context.has_asset_partitions else {}
        done = self._written[self._get_path(context).as_posix()]
        return published_metadata(self.storage, obj.release, done)

    def _with_parquet(self, path: "UPath") -> "UPath":
        return path.with_name(f"{path.name}.parquet")


def published_metadata(storage: Storage, release: Release, done: Written) -> dict[str, dg.MetadataValue]:
    """Rows, files, bytes, what was shared, which partitions differ."""
    table = done.table
    shown = done.partitions_changed[:20]
    more = len(done.partitions_changed) - len(shown)
    told = [word for word in release.changed if word.split(" ", 1)[0] == table.name]
    return {
        "release": dg.MetadataValue.int(release.number),
        CHANGED: dg.MetadataValue.text(", ".join(told) or UNCHANGED),
        "as_of": dg.MetadataValue.text(table.as_of),
        "dagster/row_count": dg.MetadataValue.int(table.rows),
        "size_bytes": dg.MetadataValue.int(table.size_bytes),
        "files": dg.MetadataValue.int(len(table.files)),
        "files_written": dg.MetadataValue.int(done.files_written),
        "files_shared": dg.MetadataValue.int(done.files_shared),
        "files_copied": dg.MetadataValue.int(done.files_copied),
        "bytes_written": dg.MetadataValue.int(done.bytes_written),
        "partitions_changed": dg.MetadataValue.text(
            (", ".join(shown) + (f" and {more} more" if more else "")) or ("none" if not done.files_written else "all")
        ),
        "dagster/column_schema": dg.MetadataValue.table_schema(
            dg.TableSchema([dg.TableColumn(name, kind, text or None) for name, kind, text in table.columns])
        ),
    }


class LandingIOManager(_StorageIOManager):
    """The landing zone: an asset that takes `[landing, <dataset>]` as input gets its folder, which lists its files."""

    def load_from_path(self, context: dg.InputContext, path: "UPath") -> Any:
        """`LandingFolder`."""
        return LandingFolder(self.storage, path.name)

    def load_input(self, context: dg.InputContext) -> Any:
        """A dataset is a folder, so there is no one object to ask for."""
        return self.load_from_path(context, self._get_path(context))

    def get_asset_relative_path(self, context: Any) -> "UPath":
        """`landing/<dataset>`: the zone is in the key already."""
        from upath import UPath

        return UPath(context.asset_key.path[-1])

    def dump_to_path(self, context: dg.OutputContext, obj: Any, path: "UPath") -> None:
        """Files arrive from outside."""
        raise dg.DagsterInvariantViolationError("Files land by `lakehouse upload`: no asset writes there.")


class ZoneIOManagerFactory(dg.ConfigurableIOManagerFactory):
    """`published_io`: the environment's part of the published zone."""

    storage: dg.ResourceDependency[StorageResource]
    environment: str

    def create_io_manager(self, context: Any) -> ZoneIOManager:
        """Opens the storage when it is first used."""
        return ZoneIOManager(self.storage.lake, self.storage.open(), self.environment)


class LandingIOManagerFactory(dg.ConfigurableIOManagerFactory):
    """`landing_io`: the landing zone."""

    storage: dg.ResourceDependency[StorageResource]

    def create_io_manager(self, context: Any) -> LandingIOManager:
        """Opens the storage when it is first used."""
        return LandingIOManager(self.storage.open(), "landing")


def write_parquet(obj: Any, target: Path) -> int:
    """Write a frame to a Parquet file and give its rows. Streams and lazy frames are never whole in memory."""
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

    if isinstance(obj, pl.LazyFrame):
        obj.sink_parquet(target)
        return int(pq.read_metadata(target).num_rows)
    if isinstance(obj, pl.DataFrame):
        obj.write_parquet(target)
        return obj.height
    if isinstance(obj, pa.RecordBatchReader):
        with pq.ParquetWriter(target, obj.schema, compression="zstd") as writer:
            for batch in obj:
                writer.write_batch(batch)
        return int(pq.read_metadata(target).num_rows)
    table = obj if isinstance(obj, pa.Table) else _arrow(obj)
    pq.write_table(table, target, compression="zstd")
    return int(table.num_rows)


def _arrow(obj: Any) -> Any:
    import pyarrow as pa

    if type(obj).__module__.startswith("pandas"):
        return pa.Table.from_pandas(obj, preserve_index=False)
    raise dg.DagsterInvariantViolationError(
        f"A {type(obj).__name__} can't be written to the published zone: return an Arrow table or a stream of record "
        "batches, a Polars (lazy) frame or a pandas frame."
    )


def read_parquet(source: Path, wanted: Any) -> Any:
    """A Parquet file as the type that the input is annotated with; an Arrow table when it is not."""
    import pyarrow.parquet as pq

    if get_origin(wanted) is dict:  # of several partitions
        wanted = get_args(wanted)[-1]
    name = getattr(get_origin(wanted) or wanted, "__module__", "")
    if name.startswith("polars"):
        import polars as pl

        frame = pl.read_parquet(source)
        return frame.lazy() if wanted is pl.LazyFrame else frame
    table = pq.read_table(source)
    return table.to_pandas() if name.startswith("pandas") else table


FAULTS = (
    StorageError, PublishError, LakeError, PostgresError, LockTimeoutError, ReleaseError, duckdb.Error, psycopg.Error
)  # fmt: skip
"""What may go wrong while a release is published, by somebody else's fault."""


@contextmanager
def explaining(lake: Lake, release: Release | None = None) -> Iterator[None]:
    """What goes wrong in this block while a release is published, as a failure in sentences that may be retried."""
    try:
        yield
    except FAULTS as error:
        raise dg.Failure(_sentence(lake, release, error)) from error


def _sentence(lake: Lake, release: Release | None, error: Exception) -> str:
    if release is not None:
        try:
            with closing(connect(lake.settings)) as connection:
                return publishing.explain_failure(lake, connection, release, error)
        except (PostgresError, psycopg.Error) as away:  # then nothing can be noted either
            error = away
    return f"{error}\nReaders keep the release that they have; publishing is tried again."
