"""The datasets of files: one declaration each, `<name>.toml` in this folder, and the dlt source that is made from it.

`from dlt_sources.datasets import ecommerce` gives the source that `ecommerce.toml` declares.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlt_sources.landing.declaration import NAME
from dlt_sources.landing.landed import Dataset

if TYPE_CHECKING:
    from dlt.extract.source import DltSource

FOLDER = Path(__file__).parent


class UnknownDatasetError(LookupError):
    """No declaration has this name."""


def dataset_names() -> list[str]:
    """Every declared dataset; a file whose name can't be a dataset's is none, see `broken_declarations`."""
    return sorted(path.stem for path in FOLDER.glob("*.toml") if NAME.fullmatch(path.stem))


@lru_cache
def dataset(name: str) -> Dataset:
    """What `<name>.toml` declares.

    Raises:
        UnknownDatasetError: there is no such file.
        DeclarationError: it is no declaration.
    """
    from dlt_sources.landing.declaration import DeclarationError, parse

    path = FOLDER / f"{name}.toml"
    if name not in dataset_names():
        raise UnknownDatasetError(name)
    try:
        return parse(name, tomllib.loads(path.read_text()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DeclarationError(f"dlt_sources/datasets/{path.name}: {reason}") from error


def broken_declarations() -> dict[str, str]:
    """Dataset -> what is wrong with its declaration. The others are none the worse."""
    from dlt_sources.landing.declaration import DeclarationError

    misnamed = (path for path in FOLDER.glob("*.toml") if not NAME.fullmatch(path.stem))
    told = "is no dataset: its name must be small letters, digits and _, a letter first"
    found = {path.stem: f"dlt_sources/datasets/{path.name} {told}" for path in sorted(misnamed)}
    for name in dataset_names():
        try:
            dataset(name)
        except DeclarationError as error:
            found[name] = str(error)
    return found


def declared_entity(name: str) -> str | None:
    """The entity that even a broken declaration names, so that its table is known."""
    found = re.search(r"""^entity\s*=\s*["']([a-z][a-z0-9_]*)["']""", _text(name), re.MULTILINE)
    return found[1] if found else None


def _text(name: str) -> str:
    try:
        return (FOLDER / f"{name}.toml").read_text(errors="replace")
    except OSError:
        return ""


def __getattr__(name: str) -> Callable[..., DltSource]:
    """The dlt source of a dataset: call it with the files of its landing folder."""
    if name not in dataset_names():
        raise AttributeError(f"module {__name__} has no attribute {name}: no {name}.toml declares it")

    def source(*arguments: Any, **options: Any) -> DltSource:
        from dlt_sources.landing.resource import landing_source

        return landing_source(dataset(name), *arguments, **options)

    return source
