"""Known vulnerabilities of what is installed here: `make audit`. Fails on each that pyproject.toml does not accept.

pip-audit 2.10 says "No known vulnerabilities found" also where it could ask nobody: this says how many were asked for.
Exit code 0: none, or nobody could be asked, which is said; 1: there are some.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

SERVICES = ("pypi", "osv")
PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def asked(service: str) -> list[dict[str, Any]]:
    """What pip-audit found: one entry for each package that the service knows. Empty when it can't be reached."""
    done = subprocess.run(
        [sys.executable, "-m", "pip_audit", "--local", "--skip-editable", "--progress-spinner", "off",
         "--format", "json", "--vulnerability-service", service, "--timeout", "15"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (json.JSONDecodeError, KeyError):
        return []
    return [package for package in packages if "skip_reason" not in package]


def problems(packages: list[dict[str, Any]], accepted: dict[str, dict[str, Any]], today: date) -> list[str]:
    """A sentence for each vulnerability that nobody has accepted, and for each acceptance that has run out."""
    found = []
    for package in packages:
        for one in package["vulns"]:
            names = [one["id"], *one.get("aliases", [])]
            known = next((accepted[name] for name in names if name in accepted), None)
            if known and known["until"] >= today:
                continue
            fixed = ", ".join(one["fix_versions"]) or "no version yet"
            ran_out = f" Accepted until {known['until']}: {known['reason']}" if known else ""
            found.append(f"{package['name']} {package['version']}: {', '.join(names)}, fixed in {fixed}.{ran_out}")
    return found


def main() -> int:
    """Ask the first service that answers for most of what is installed."""
    accepted = tomllib.loads(PROJECT.read_text())["tool"]["audit"]["accepted"]
    for service in SERVICES:
        packages = asked(service)
        if not packages:
            continue
        found = problems(packages, accepted, date.today())
        print(f"{len(packages)} packages audited by {service}: {len(found)} known vulnerabilities not accepted.")
        for sentence in found:
            print(f"  {sentence}")
        if found:
            print(
                "Upgrade (`make lock`), or accept one in pyproject.toml, [tool.audit.accepted], with reason and date."
            )
        return int(bool(found))
    print("NOT AUDITED: no advisory service answers from here (pypi.org/pypi/<package>/<version>/json, api.osv.dev).")
    print("That is no finding and no clearance: run `make audit` where one of them can be reached.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
