"""Compressed files, unpacked: gzip, Zstandard, and ZIP archives of several."""

from __future__ import annotations

import gzip
import lzma
import resource
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

COMPRESSIONS = ("gz", "zst", "zip")
MOST_MEMBERS = 1000
_BROKEN = (
    EOFError,
    gzip.BadGzipFile,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    RuntimeError,
    NotImplementedError,
)


class PackedProblem(ValueError):
    """The file can't be unpacked; the message says why."""


class TooLarge(PackedProblem):
    """It unfolds to more than this process may write."""


def format_of(name: str) -> tuple[str, str]:
    """(format, compression) that a file's name ends in, both may be "": `a.csv.gz` is ("csv", "gz")."""
    stem, _, last = name.lower().rpartition(".")
    if last in COMPRESSIONS:
        return stem.rpartition(".")[2] if "." in stem else "", last
    return last, ""


def unpacked(path: Path, form: str, compression: str) -> Iterator[tuple[str, Path]]:
    """Each file that a compressed one holds, with its name, where it is unpacked until the next is asked for.

    The name is "" where there is one without a name of its own. Raises PackedProblem; OSError for a full disk.
    """
    try:
        if compression == "zip":
            yield from _members(path)
            return
        target = path.with_name(f"unpacked.{form}")
        if compression == "gz":
            with gzip.open(path) as packed, target.open("wb") as file:
                shutil.copyfileobj(packed, file, 1 << 20)
        else:
            import pyarrow

            with (
                pyarrow.OSFile(str(path)) as raw,
                pyarrow.CompressedInputStream(raw, "zstd") as packed,
                target.open("wb") as file,
            ):
                shutil.copyfileobj(packed, file, 1 << 20)
    except _BROKEN as error:
        raise PackedProblem(f"it can't be unpacked: {error}") from error
    except OSError as error:
        if error.errno is None:  # pyarrow's own
            raise PackedProblem(f"it can't be unpacked: {error}") from error
        raise
    yield "", target


def _members(path: Path) -> Iterator[tuple[str, Path]]:
    with zipfile.ZipFile(path) as archive:
        members = [one for one in archive.infolist() if not one.is_dir() and not _is_hidden(one.filename)]
        if not members:
            raise PackedProblem("the archive holds no file")
        if len(members) > MOST_MEMBERS:
            raise PackedProblem(f"the archive holds {len(members)} files; at most {MOST_MEMBERS} are taken")
        most, _ = resource.getrlimit(resource.RLIMIT_FSIZE)  # of one file; here it holds for all together
        if most != resource.RLIM_INFINITY and sum(one.file_size for one in members) > most:
            raise TooLarge("it unfolds to more than a file of its size may take on disk")
        for number, member in enumerate(members):
            folder = path.with_name(f"member{number}")
            folder.mkdir()
            target = folder / f"landed.{format_of(member.filename)[0]}"
            with archive.open(member) as packed, target.open("wb") as file:
                shutil.copyfileobj(packed, file, 1 << 20)
            yield ("" if len(members) == 1 else member.filename), target
            shutil.rmtree(folder)


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "_")) for part in PurePosixPath(name).parts)  # __MACOSX, too
