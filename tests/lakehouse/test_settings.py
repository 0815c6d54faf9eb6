"""Settings: named in a sentence when wrong, listed in one file, never shown when secret."""

import errno
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lakehouse.settings import PREFIX, PROJECT_ROOT, Settings, SettingsError, load_settings


@pytest.fixture(autouse=True)
def _fresh() -> None:
    load_settings.cache_clear()


def test_env_example_lists_every_setting_with_its_default() -> None:
    listed = dict(re.findall(r"^# (LAKEHOUSE_\w+)=(.*)$", (PROJECT_ROOT / ".env.example").read_text(), re.M))
    assert set(listed) == {PREFIX + name.upper() for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        default = field.default.get_secret_value() if hasattr(field.default, "get_secret_value") else field.default
        if listed[PREFIX + name.upper()]:
            shown = str(default).lower() if isinstance(default, bool) else str(default)
            assert listed[PREFIX + name.upper()] == (f"{default:g}" if isinstance(default, float) else shown)


def test_a_misspelt_setting_is_named_with_the_nearest_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_STORGE", "x")
    with pytest.raises(SettingsError, match="LAKEHOUSE_STORGE is not a setting; did you mean LAKEHOUSE_STORAGE"):
        load_settings()


def test_a_wrong_secret_is_named_but_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_POSTGRES_URL", "mysql://root:hunter2@db/x")
    with pytest.raises(SettingsError, match="LAKEHOUSE_POSTGRES_URL: must look like postgresql://") as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


def test_a_relative_storage_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_STORAGE", "somewhere")
    with pytest.raises(SettingsError, match="LAKEHOUSE_STORAGE: must be an absolute folder"):
        load_settings()


def test_nothing_hangs_on_the_current_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAKEHOUSE_DATA_DIR", "data")
    assert load_settings().data_dir == PROJECT_ROOT / "data"


def test_the_web_ui_answers_to_what_it_listens_on_and_to_the_names_that_are_given() -> None:
    settings = Settings(webserver_host="lake.example", webserver_names="a.example, b.example")
    assert settings.own_names == ["lake.example", "127.0.0.1", "a.example", "b.example"]


def test_a_secret_may_lie_in_a_file_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "lakehouse_postgres_password").write_text("p@ss 'w\"\n")
    (tmp_path / "LAKEHOUSE_QUERY_TOKEN").write_text("from a file")
    (tmp_path / "somebody_elses").write_text("x")
    monkeypatch.setenv("LAKEHOUSE_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("LAKEHOUSE_QUERY_TOKEN", "from the environment")
    settings = load_settings()
    assert settings.postgres_password.get_secret_value() == "p@ss 'w\""
    assert settings.query_token.get_secret_value() == "from the environment"


def test_a_file_that_names_no_setting_and_a_folder_that_is_not_there_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LAKEHOUSE_SECRETS_DIR", str(tmp_path))
    (tmp_path / "lakehouse_postgres_pasword").write_text("x")
    with pytest.raises(SettingsError, match="LAKEHOUSE_POSTGRES_PASWORD is not a setting; did you mean LAKEHOUSE_POS"):
        load_settings()
    monkeypatch.setenv("LAKEHOUSE_SECRETS_DIR", str(tmp_path / "gone"))
    with pytest.raises(SettingsError, match="LAKEHOUSE_SECRETS_DIR: there is no folder"):
        load_settings()


def test_a_folder_of_secrets_that_is_only_the_default_and_may_not_be_listed_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refused(folder: Path) -> Iterator[Path]:  # as a folder of root's, mode 0700; tests may run as root
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", refused)
    monkeypatch.setattr(Settings.model_fields["secrets_dir"], "default", tmp_path)
    load_settings()
    load_settings.cache_clear()
    monkeypatch.setenv("LAKEHOUSE_SECRETS_DIR", str(tmp_path))
    with pytest.raises(SettingsError, match=f"The settings can't be read: {tmp_path}: Permission denied"):
        load_settings()


def test_a_key_that_would_break_out_of_its_quotes_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_S3_SECRET_ACCESS_KEY", "hunter2'; DROP")
    with pytest.raises(SettingsError, match="LAKEHOUSE_S3_SECRET_ACCESS_KEY: must have no quote") as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)
