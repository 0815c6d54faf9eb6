"""Importing SQLMesh as cheaply as Python allows, in a process that is somebody else's."""

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lakehouse_assets.sqlmesh_integration.importing import first_import

LIBRARY = "a_large_library"


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / f"{LIBRARY}.py").write_text(
        "import gc\nWAS_COLLECTING = gc.isenabled()\nHELD = [[] for _ in range(1000)]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield LIBRARY
    sys.modules.pop(LIBRARY, None)
    gc.unfreeze()


def test_what_a_library_brings_is_never_looked_at_again(library: str) -> None:
    before = gc.get_freeze_count()
    with first_import(library):
        import a_large_library  # type: ignore[import-not-found]
    assert not a_large_library.WAS_COLLECTING
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + 1000
    assert not any(found is a_large_library.HELD for found in gc.get_objects())


def test_later_imports_freeze_nothing_so_that_a_long_process_does_not_keep_garbage(library: str) -> None:
    with first_import(library):
        __import__(library)
    frozen = gc.get_freeze_count()
    garbage = [[] for _ in range(1000)]
    with first_import(library):
        __import__(library)
        assert gc.isenabled()
    assert gc.get_freeze_count() == frozen
    assert garbage


@pytest.mark.parametrize("is_collecting", [True, False])
def test_a_broken_library_leaves_the_collector_as_it_was(is_collecting: bool) -> None:
    try:
        if not is_collecting:
            gc.disable()
        with pytest.raises(ImportError), first_import("no_such_library"):
            import no_such_library  # type: ignore[import-not-found]  # noqa: F401
        assert gc.isenabled() is is_collecting
    finally:
        gc.enable()
        gc.unfreeze()
