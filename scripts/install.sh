#!/usr/bin/env bash
# Make .venv from a lock file with hashes. Usage: install.sh PYTHON LOCK
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1 lock=$2

"$python" - <<'CHECK'
import sys
if not (3, 11) <= sys.version_info < (3, 13):
    sys.exit(f"Python 3.11 or 3.12 is needed, {sys.executable} is {sys.version.split()[0]}. Use: make PYTHON=/path/to/python3.12 …")
CHECK

# uv installs ten times as fast as pip. Where it isn't there, its wheel goes into the environment first. Nothing is
# compiled ahead: that takes longer than all else, and Python keeps what it compiles as it runs.
echo "Installing $lock into .venv …"
[ -x .venv/bin/python ] || "$python" -m venv --without-pip .venv
uv=$(command -v uv || echo .venv/bin/uv)

with_pip() {  # with the pip of PYTHON where it is one that can (22.3), else with one of the environment's own
    local pip=("$python" -m pip --python .venv/bin/python)
    if ! "${pip[@]}" --version >/dev/null 2>&1; then
        .venv/bin/python -m ensurepip --default-pip >/dev/null
        pip=(.venv/bin/python -m pip)
    fi
    "${pip[@]}" install -qq --disable-pip-version-check --no-compile "$@"
}

with_uv() {  # it says what it downloads; not the name of each package that it has unpacked
    "$uv" pip install --python .venv/bin/python "$@" 2> >(grep --line-buffered -vE '^ [+~-] ' >&2)
}

[ -x "$uv" ] || with_pip --no-deps --require-hashes -r requirements-uv.lock
if ! with_uv --require-hashes -r "$lock"; then
    echo "uv can't; pip tries, which may be told of another index than uv, and takes minutes …"
    with_pip --require-hashes -r "$lock"
fi
with_uv --quiet --no-deps --no-build-isolation -e .

# Dagster's asset and job commands read their module from the command line or from a variable, never from pyproject.toml
# (dagster 1.13.27); an activated environment carries it, and the instance's home, so that nothing is exported by hand. A
# variable for each command: DAGSTER_MODULE_NAME would reach the processes of `dagster dev` too, which refuse it and hang.
# Who names a module or a file is not told of ours: Dagster refuses both together.
sed -i '/^export DAGSTER_/d; /^dagster() {/,/^}/d' .venv/bin/activate
cat >> .venv/bin/activate <<ACTIVATE
export DAGSTER_HOME="\${DAGSTER_HOME:-$PWD/dagster_home}"
export DAGSTER_CLI_ASSET_LIST_MODULE_NAME=lakehouse_assets.definitions
export DAGSTER_CLI_ASSET_MATERIALIZE_MODULE_NAME=lakehouse_assets.definitions
export DAGSTER_CLI_JOB_EXECUTE_MODULE_NAME=lakehouse_assets.definitions
dagster() {
    case " \$* " in
        *" -f "* | *" --python-file"* | *" -m "* | *" --module-name"* | *" -w "* | *" --workspace"* | *" --package-name"*)
            env -u DAGSTER_CLI_ASSET_LIST_MODULE_NAME -u DAGSTER_CLI_ASSET_MATERIALIZE_MODULE_NAME \\
                -u DAGSTER_CLI_JOB_EXECUTE_MODULE_NAME dagster "\$@"
            ;;
        *)
            command dagster "\$@"
            ;;
    esac
}
ACTIVATE
