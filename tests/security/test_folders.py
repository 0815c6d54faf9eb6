"""What lies on this machine is its user's alone."""

from __future__ import annotations

import os
import stat
import subprocess
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import leave
from lakehouse.settings import PROJECT_ROOT, Settings


@pytest.fixture(autouse=True)
def _no_other_lakehouse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another folder's tests in this process may have a lakehouse of theirs in the environment."""
    for name in [name for name in os.environ if name.startswith("LAKEHOUSE_")]:
        monkeypatch.delenv(name)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_data_storage_and_the_embedded_servers_socket_are_private(tmp_path: Path) -> None:
    lake = Lake(Settings(data_dir=tmp_path / "data"))
    lake.bootstrap()
    assert mode(tmp_path / "data" / "storage") == 0o700
    if os.geteuid() != 0:  # as root the server is another user, who must reach its folder
        assert mode(tmp_path / "data") == 0o700
    with closing(psycopg.connect(lake.postgres_url)) as connection:
        assert connection.execute("SHOW unix_socket_permissions").fetchone() == ("0700",)
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
    leave(tmp_path / "data" / "postgres")


def test_a_folder_that_somebody_opened_stays_open(tmp_path: Path) -> None:
    (tmp_path / "data" / "storage").mkdir(parents=True)
    (tmp_path / "data" / "storage").chmod(0o755)
    lake = Lake(Settings(data_dir=tmp_path / "data"))
    lake.bootstrap()
    assert mode(tmp_path / "data" / "storage") == 0o755
    leave(tmp_path / "data" / "postgres")


def test_the_file_of_settings_is_private(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/dotenv.sh", ".env.example"):
        (tmp_path / name).write_bytes((PROJECT_ROOT / name).read_bytes())
    subprocess.run(["bash", str(tmp_path / "scripts" / "dotenv.sh")], check=True)
    assert mode(tmp_path / ".env") == 0o600
