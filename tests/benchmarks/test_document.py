"""The document that the benchmarks write."""

from pathlib import Path

from benchmarks import document


def test_a_partial_run_replaces_only_its_own_section(tmp_path: Path) -> None:
    path = tmp_path / "docs" / "benchmarks.md"
    document.write(path, "2 cores", {"load": "old load", "demo": "old demo"}, ["demo", "load", "models"])
    document.write(path, "4 cores", {"load": "new load", "models": "first models"}, ["demo", "load", "models"])
    written = path.read_text()
    assert document.sections(written) == {"demo": "old demo", "load": "new load", "models": "first models"}
    assert written.index("old demo") < written.index("new load") < written.index("first models")
    assert "4 cores" in written
    assert "2 cores" not in written


def test_a_case_that_was_never_measured_is_named(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.md"
    document.write(path, "2 cores", {"demo": "text"}, ["demo", "load", "models"])
    assert "Not measured yet: load, models." in path.read_text()
    document.write(path, "2 cores", {"load": "text", "models": "text"}, ["demo", "load", "models"])
    assert "Not measured" not in path.read_text()


def test_a_case_that_is_no_more_leaves_the_document(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.md"
    document.write(path, "", {"gone": "text", "demo": "text"}, ["gone", "demo"])
    document.write(path, "", {"demo": "newer"}, ["demo"])
    assert document.sections(path.read_text()) == {"demo": "newer"}
