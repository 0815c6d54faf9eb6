"""`lakehouse status` and what every command says about wrong settings."""

from __future__ import annotations

from collections.abc import Callable

from tests.lakehouse_instance import LakehouseInstance


def test_status_shows_services_loads_and_row_counts(demo_at_rest: LakehouseInstance) -> None:
    done = demo_at_rest.command("status")
    assert (done.returncode, done.stderr) == (0, "")
    events = demo_at_rest.value("SELECT COUNT(*) FROM raw.ecommerce__events")
    assert f"{events:,}" in done.stdout
    for wanted in ("embedded", "not running; `make up`", "Nothing is unfinished", "raw.nyc_taxi__trips"):
        assert wanted in done.stdout


def test_status_fits_80_columns(demo_lakehouse: LakehouseInstance) -> None:
    lines = demo_lakehouse.command("status").stdout.splitlines()
    assert [line for line in lines if len(line.rstrip()) > 80 or "…" in line] == []


def test_without_a_lake_a_command_says_how_to_make_one(new_lakehouse: Callable[[], LakehouseInstance]) -> None:
    lakehouse = new_lakehouse()
    for command, sentence in (
        (["status"], "There is no lake yet: `make demo`"),
        (["query", "SELECT 1"], "prod has no release yet: `make demo`"),
        (["query", "--head", "SELECT 1"], "There is no lake yet: `make demo`"),
        (["releases"], "There is no lake yet: `make demo`"),
        (["files"], "`lakehouse bootstrap` creates"),
    ):
        done = lakehouse.command(*command)
        assert done.returncode == 1
        assert sentence in done.stderr


def test_a_wrong_setting_is_named_in_a_sentence(demo_lakehouse: LakehouseInstance) -> None:
    done = demo_lakehouse.command("status", webserver_port="70000")
    assert (done.returncode, done.stdout) == (2, "")
    assert "LAKEHOUSE_WEBSERVER_PORT" in done.stderr
    assert "less than or equal to 65535" in done.stderr


def test_a_name_that_is_no_setting_is_refused_with_the_nearest(demo_lakehouse: LakehouseInstance) -> None:
    done = demo_lakehouse.command("query", "SELECT 1", data_dri="x")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean LAKEHOUSE_DATA_DIR?" in done.stderr


def test_a_server_that_does_not_answer_is_named_without_its_password(demo_lakehouse: LakehouseInstance) -> None:
    done = demo_lakehouse.command("status", postgres_url="postgresql://me:hidden@127.0.0.1:1/db")
    assert done.returncode == 1
    assert "PostgreSQL does not answer" in done.stderr
    assert "LAKEHOUSE_POSTGRES_URL" in done.stderr
    assert "hidden" not in done.stderr + done.stdout
