"""A folder as storage. Writes are whole or not at all; replaced landing files are kept as versions."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from lakehouse.storage.protocol import ConflictError, NotThereError, Progress, StorageError, StoredObject

CHUNK_BYTES = 1024 * 1024
VERSIONS = ".versions"
"""Beside a zone's files: `<zone>/.versions/<key below the zone>/<etag>`."""
ASIDE = ".part"
TICK_NS = 20_000_000
"""Longer than a tick of the clock that times of files are taken from: 10 ms at most."""
COARSE_TICK_NS = 2_000_000_000
"""The same where a file system keeps whole seconds."""
MOST_TICKS = 5


class FolderStorage:
    """Keys are paths below `root`. What starts with a dot or ends in `.part` is no object."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.uri = str(root)

    def uri_of(self, key: str) -> str:
        """An absolute path."""
        return f"{self.root}/{key}"

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """The files below a folder."""
        with self._explaining(prefix):
            for path in sorted(self._path(prefix).rglob("*")):
                if path.is_file() and path.suffix != ASIDE and not self._hidden(path, prefix):
                    # A file that goes while we look is not there.
                    with contextlib.suppress(FileNotFoundError):
                        yield self._described(path)

    def find(self, key: str) -> StoredObject | None:
        """A file."""
        try:
            return self._described(self._path(key))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read(self, key: str) -> tuple[bytes, str]:
        """Content and etag belong together: both come from one open file."""
        with self._explaining(key), open(self._path(key), "rb") as file:
            found = os.fstat(file.fileno())
            return file.read(), _etag(found, key)

    def write(self, key: str, content: bytes, *, replacing: str | None = None, new: bool = False) -> str:
        """Writers of one folder's keys take turns, so that the condition still holds when the file is replaced."""
        path = self._path(key)
        with self._explaining(key):
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path.parent / ".lock", "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                found = self.find(key)
                if (new and found) or (replacing is not None and (found is None or found.etag != replacing)):
                    raise ConflictError(f"{path} was written by somebody else meanwhile.")
                with self._aside(path) as aside:
                    aside.write_bytes(content)
                return self._described(path).etag

    def upload(self, source: Path, key: str, progress: Progress = lambda _: None) -> StoredObject:
        """Copied beside the target, read back, then renamed."""
        path = self._path(key)
        with self._explaining(key):
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._aside(path) as aside:
                digest = hashlib.sha256()
                with open(source, "rb") as reader, open(aside, "wb") as writer:
                    while chunk := reader.read(CHUNK_BYTES):
                        digest.update(chunk)
                        writer.write(chunk)
                        progress(len(chunk))
                    writer.flush()
                    os.fsync(writer.fileno())
                with open(aside, "rb") as written:
                    if hashlib.file_digest(written, "sha256").digest() != digest.digest():
                        raise StorageError(f"{path} does not hold what {source} holds: the disk altered it.")
                self._keep_version(key)
            return self._described(path)

    def checksum(self, key: str) -> str:
        """Computed from the file."""
        with self._explaining(key), open(self._path(key), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def download(self, key: str, target: Path, version: str = "") -> None:
        """A copy."""
        with self._explaining(key):
            shutil.copyfile(self._version_path(key, version), target)

    def copy(self, source: str, target: str, version: str = "") -> None:
        """A hard link where the file system has them: immutable files need no second copy of their bytes.

        A file of the landing zone may be written to by others, so it is copied.
        """
        origin, path = self._version_path(source, version), self._path(target)
        with self._explaining(source):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._keep_version(target)
            with self._aside(path) as aside:
                if _zone(target) == _zone(source) == "landing":
                    shutil.copyfile(origin, aside)
                    return
                try:
                    os.link(origin, aside)
                except FileNotFoundError:
                    raise
                except OSError:  # another file system, or one without links
                    shutil.copyfile(origin, aside)

    def delete(self, keys: Iterable[str]) -> None:
        """Landing files stay as versions. Folders that become empty go."""
        for key in keys:
            path = self._path(key)
            with self._explaining(key):
                self._keep_version(key)
                path.unlink(missing_ok=True)
                for folder in path.parents:
                    if folder == self.root or not folder.is_relative_to(self.root):
                        break
                    (folder / ".lock").unlink(missing_ok=True)
                    try:
                        folder.rmdir()
                    except OSError:
                        break

    def versions(self, prefix: str) -> Iterator[StoredObject]:
        """What is there, and what uploads, restores and deletions replaced. A plain overwrite keeps nothing."""
        zone, _, below = prefix.partition("/")
        kept: dict[str, list[StoredObject]] = {}
        for path in sorted((self.root / zone / VERSIONS / below).rglob("*")):
            if path.is_file():
                key = f"{zone}/{path.parent.relative_to(self.root / zone / VERSIONS).as_posix()}"
                found = path.stat()
                kept.setdefault(key, []).append(
                    StoredObject(key, found.st_size, path.name, found.st_mtime, path.name, is_latest=False)
                )
        latest = {found.key: found for found in self.list(prefix)}
        for key in sorted({*kept, *latest}):
            if key in latest:
                yield latest[key]
            yield from sorted(kept.get(key, []), key=lambda version: version.modified_at, reverse=True)

    def _keep_version(self, key: str) -> None:
        """Before a landing file is replaced or deleted: the bytes stay, under the name of their etag."""
        found = self.find(key)
        if found is None or _zone(key) != "landing":
            return
        path = self._kept_path(key, found.etag)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._aside(path) as aside:
                shutil.copy2(self._path(key), aside)

    def _version_path(self, key: str, version: str) -> Path:
        found = self.find(key)
        if not version or (found and found.etag == version):
            return self._path(key)
        return self._kept_path(key, version)

    def _kept_path(self, key: str, version: str) -> Path:
        zone, _, below = key.partition("/")
        path = self.root / zone / VERSIONS / below / version
        if not path.resolve().is_relative_to((self.root / zone / VERSIONS).resolve()):
            raise StorageError(f"{version} is not a version of {key}.")
        return path

    def _path(self, key: str) -> Path:
        path = self.root / key
        if ".." in path.parts:
            raise StorageError(f"{key} leads out of {self.root}.")
        return path

    def _described(self, path: Path) -> StoredObject:
        key = path.relative_to(self.root).as_posix()
        found, etag = _stat(path, key)
        return StoredObject(key, found.st_size, etag, found.st_mtime, etag)

    def _hidden(self, path: Path, prefix: str) -> bool:
        return any(part.startswith(".") for part in path.relative_to(self._path(prefix)).parts)

    @contextlib.contextmanager
    def _aside(self, path: Path) -> Iterator[Path]:
        """A path to write to; what was written is renamed to `path` when the block ends well."""
        aside = path.with_name(f".{uuid.uuid4().hex}{ASIDE}")  # a longer name than its own may be too long
        try:
            yield aside
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _explaining(self, key: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError):
            raise NotThereError(f"There is no {self.uri_of(key)}.") from None
        except OSError as error:
            raise StorageError(
                f"{error.filename or self.uri_of(key)}: {error.strerror or error}. Check the disk and who may write."
            ) from error


def _etag(found: os.stat_result, key: str) -> str:
    """As good as a checksum for files that are replaced, and free. Docs/input.md says why it can't repeat.

    The inode tells two files apart that were made in the same tick of the clock. Others write to the landing zone as
    they like: there the time of the last change counts too, which is the kernel's own. Elsewhere files get hard links,
    which are changes for it.
    """
    etag = f"{found.st_mtime_ns:x}-{found.st_size:x}-{found.st_ino:x}"
    return f"{etag}-{found.st_ctime_ns:x}" if _zone(key) == "landing" else etag


def _stat(path: Path, key: str) -> tuple[os.stat_result, str]:
    """A file and its etag. One that has just been changed could be changed again in the same tick of the clock."""
    for _ in range(MOST_TICKS):
        found = path.stat()
        age = time.time_ns() - found.st_ctime_ns
        tick = COARSE_TICK_NS if found.st_ctime_ns % 10**9 == 0 else TICK_NS
        if _zone(key) != "landing" or not 0 <= age < tick:
            return found, _etag(found, key)
        time.sleep((tick - age) / 1e9)
    return found, f"{_etag(found, key)}-{time.time_ns():x}"  # it doesn't come to rest: whatever was read is read again


def _zone(key: str) -> str:
    return key.partition("/")[0]
