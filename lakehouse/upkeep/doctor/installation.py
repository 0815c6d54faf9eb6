"""What is installed and how it is set: Python, packages, DuckDB's extensions, settings, the `.env`."""

from __future__ import annotations

import importlib.util
import re
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import duckdb
from dotenv import dotenv_values
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from lakehouse import settings as settings_module
from lakehouse.lake.extensions import EXTENSIONS
from lakehouse.settings import PROJECT_ROOT, SettingsError, load_settings
from lakehouse.upkeep.doctor.examination import Examination
from lakehouse.upkeep.doctor.findings import Finding, Seen, warning, wrong

PYTHON = SpecifierSet(">=3.11,<3.13")
SECRET = re.compile(r"SECRET|TOKEN|PASSWORD|WEBHOOK|POSTGRES_URL")
INSTALL = "pip install --require-hashes -r requirements.lock, or `make up`, which does it"


def settings_fit(_: Examination) -> Seen:
    """Every setting is known and has a value that fits."""
    try:
        settings = load_settings()
    except SettingsError as error:
        *sentences, _advice = str(error).splitlines()
        return Seen(
            "",
            tuple(
                wrong(
                    sentence,
                    where=f"the environment, or {settings_module.ENV_FILE}",
                    why="Nothing starts with a setting that is wrong or unknown.",
                    do="Correct it; .env.example lists every setting.",
                )
                for sentence in sentences
            ),
        )
    return Seen(f"environment {settings.environment}, storage {settings.storage_uri}")


def versions(_: Examination) -> Seen:
    """Python and the packages are the ones that were tested together."""
    findings = []
    python = ".".join(map(str, sys.version_info[:3]))
    if not PYTHON.contains(python):
        findings.append(
            wrong(
                f"Python is {python}",
                where=sys.executable,
                why=f"This project is tested with Python {PYTHON} alone.",
                do="rm -rf .venv && make PYTHON=python3.12 up",
            )
        )
    wanted = [Requirement(line) for line in requires("lakehouse") or ()]
    wanted = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    for requirement in wanted:
        found = _version(requirement.name)
        if found is None or not requirement.specifier.contains(found, prereleases=True):
            findings.append(
                wrong(
                    f"{requirement.name} is {found or 'missing'}, and "
                    f"{requirement.specifier or 'any version'} is wanted",
                    where=sys.prefix,
                    why="Versions that were not tested together fail in ways that name something else.",
                    do=INSTALL,
                )
            )
    return Seen(f"Python {python}, {len(wanted)} packages as pinned", tuple(findings))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def extensions(_: Examination) -> Seen:
    """DuckDB's extensions are there, for this version of DuckDB, and load."""
    findings: list[Finding] = []
    engine = str(duckdb.__version__)
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as connection:
        for name, package in EXTENSIONS.items():
            file = _extension_file(package, name, engine)
            problem = f"the package {package} is not installed" if file is None else ""
            if file is not None and not file.exists():
                problem = f"{file} is missing"
            elif file is not None:
                try:
                    connection.execute(f"LOAD '{file}'")
                except duckdb.Error as error:
                    problem = str(error).splitlines()[0]
            if problem:
                findings.append(
                    wrong(
                        f"DuckDB's extension {name} can't be loaded",
                        where=problem,
                        why="The lake can't be attached without it, and nothing is downloaded at run time.",
                        do=f"pip install --force-reinstall {package.replace('_', '-')}=={engine}",
                    )
                )
    return Seen(f"{', '.join(EXTENSIONS)} load into DuckDB {engine}", tuple(findings))


def _extension_file(package: str, name: str, engine: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "extensions" / f"v{engine}" / f"{name}.duckdb_extension"


def dotenv(_: Examination) -> Seen:
    """Nobody else on this machine reads the secrets of `.env`."""
    file = settings_module.ENV_FILE
    if not file.exists():
        return Seen("there is no .env")
    secrets = sorted(name for name, value in dotenv_values(file).items() if value and SECRET.search(name))
    if not secrets:
        return Seen("no secret is in .env")
    if file.stat().st_mode & 0o077:
        return Seen(
            "",
            (
                warning(
                    f".env holds {', '.join(secrets)}, and others may read it",
                    where=str(file),
                    why="Every user and service of this machine can use these secrets.",
                    do=f"chmod 600 {_short(file)}",
                ),
            ),
        )
    return Seen("only its owner reads .env")


def _short(file: Path) -> str:
    return str(file.relative_to(PROJECT_ROOT)) if file.is_relative_to(PROJECT_ROOT) else str(file)
