"""Deploys and computes the project in the folder given, in a process of its own: the tests give it a time zone."""

import sys
from pathlib import Path

from tests.sqlmesh_integration.sandbox import Sandbox


def main() -> None:
    sandbox = Sandbox(Path(sys.argv[-1]))
    tests = sandbox.deploy().tests
    assert all(test.passed for test in tests), tests
    ran = sandbox.run()
    assert ran.success, ran
