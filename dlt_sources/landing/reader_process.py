"""The process that reads files for `file_reader.FileReader`: `python -m dlt_sources.landing.reader_process FD`."""

from __future__ import annotations

import json
import os
import pickle
import resource
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import Any

from dlt_sources.landing.file_reader import ReadRequest
from dlt_sources.landing.typed_parquet import NeedsDisk, NeedsMemory, TypedParquet, UnusableFile, connect

DATA_BYTES = 900 << 20
"""All memory of the process. DuckDB manages `typed_parquet.MEMORY` of it; its decoders take theirs beside it."""
WRITTEN_BYTES = 1 << 30
WRITTEN_SHARE = 20
"""What a file may become on disk: a gigabyte, or so many times its own size. Spilled rows count, too."""


def limit_process() -> None:
    """Take from this process what no sound file needs."""
    most = _allowed(resource.RLIMIT_DATA, DATA_BYTES)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # an error of the write instead
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the owner


def _allowed(kind: int, wanted: int) -> int:
    """What we want, or less where whoever started us allows no more: a limit can't be raised again."""
    _, hard = resource.getrlimit(kind)
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


def answer(request: ReadRequest) -> dict[str, Any]:
    """What became of the file: its rows, why it is refused, or why nobody could look at it."""
    try:
        size = request.path.stat().st_size
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        wanted = max(WRITTEN_BYTES, WRITTEN_SHARE * size)
        limit = _allowed(resource.RLIMIT_FSIZE, wanted)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))  # the next file may need more
        with connect(request.target.parent) as connection:
            parquet = TypedParquet(connection, request.dataset, request.known_columns, request.headers, request.load_id)
            return asdict(parquet.write(request.path, request.target, request.source_file))
    except NeedsMemory as error:
        return {"memory": str(error)}
    except NeedsDisk as error:
        if limit < wanted:  # the machine's fault
            return {
                "problem": f"it needs more than the {limit:,} bytes that a process may write into a file here "
                "(ulimit -f): raise that"
            }
        return {"refusal": str(error)}
    except UnusableFile as error:
        return {"refusal": str(error)}
    except OSError as error:
        return {"problem": str(error)}
    except MemoryError:
        return {"memory": "reading it takes more memory than a file may have"}
    except Exception as error:  # whatever it is, it is this one file's
        return {"refusal": f"the reader failed on it ({type(error).__name__}: {str(error)[:200]})"}


def main() -> None:
    """Answer requests until the owner is gone."""
    owner = Connection(int(sys.argv[1]))
    limit_process()
    threading.Thread(target=_end_with_owner, daemon=True).start()
    with suppress(EOFError, ConnectionError):
        while True:
            request = pickle.loads(owner.recv_bytes())
            owner.send_bytes(json.dumps(answer(request)).encode())


def _end_with_owner() -> None:
    os.read(0, 1)
    os._exit(0)


if __name__ == "__main__":
    main()
