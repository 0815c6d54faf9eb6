"""A JSON file that is made again when the files it was made from change."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


def cached(path: Path, sources: Iterable[Path], salt: str, build: Callable[[], Any]) -> Any:
    """What `build` gave for these sources, from `path` when that is fresh. Written atomically."""
    digest = hashlib.sha256(salt.encode())
    for source in sorted(sources):
        digest.update(source.name.encode() + b"\0" + hashlib.sha256(source.read_bytes()).digest())
    key = digest.hexdigest()
    if path.exists():
        try:
            known = json.loads(path.read_text())
            if known["key"] == key:
                return known["value"]
        except (ValueError, KeyError):
            pass  # half a file of an older version: it is made again
    value = build()
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(json.dumps({"key": key, "value": value}))
    aside.replace(path)
    return value
