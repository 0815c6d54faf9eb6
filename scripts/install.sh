#!/usr/bin/env bash
# Make .venv from a lock file with hashes: with uv when it is there, with pip when not. Usage: install.sh PYTHON LOCK
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1 lock=$2

"$python" - <<'CHECK'
import sys
if not (3, 11) <= sys.version_info < (3, 13):
    sys.exit(f"Python 3.11 or 3.12 is needed, {sys.executable} is {sys.version.split()[0]}. Use: make PYTHON=/path/to/python3.12 …")
CHECK

[ -x .venv/bin/python ] || "$python" -m venv .venv
echo "Installing $lock into .venv …"
if command -v uv >/dev/null; then
    uv pip install --quiet --python .venv/bin/python --require-hashes -r "$lock"
    uv pip install --quiet --python .venv/bin/python --no-deps -e .
else
    # Only a wheel can be checked and unpacked without running its code; a few packages come as sources only.
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
fi

# These commands read their module from the command line or from a variable, never from pyproject.toml (dagster
# 1.13.27); an activated environment carries it, and the instance's home, so that nothing is exported by hand. A variable
# for each command: DAGSTER_MODULE_NAME would reach the processes of `dagster dev` too, which refuse it and hang.
sed -i '/^export DAGSTER_/d' .venv/bin/activate
cat >> .venv/bin/activate <<ACTIVATE
export DAGSTER_HOME="\${DAGSTER_HOME:-$PWD/dagster_home}"
export DAGSTER_CLI_ASSET_LIST_MODULE_NAME=lakehouse_assets.definitions
export DAGSTER_CLI_ASSET_MATERIALIZE_MODULE_NAME=lakehouse_assets.definitions
export DAGSTER_CLI_JOB_EXECUTE_MODULE_NAME=lakehouse_assets.definitions
ACTIVATE
