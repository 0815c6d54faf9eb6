#!/usr/bin/env bash
# Make .env, readable by its owner alone, from .env.example: every setting as a comment with its default, and the absolute DAGSTER_HOME.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 077
{ echo "DAGSTER_HOME=$PWD/dagster_home"; echo; cat .env.example; } > .env
