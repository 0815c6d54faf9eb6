#!/usr/bin/env bash
# Delete the lake of this project: data/ and what Dagster keeps in dagster_home/. YES=1 answers for you.
set -euo pipefail
cd "$(dirname "$0")/.."
if grep -qsE '^LAKEHOUSE_(DATA_DIR|STORAGE|POSTGRES_URL)=.' .env || [ -n "${LAKEHOUSE_DATA_DIR:-}${LAKEHOUSE_STORAGE:-}${LAKEHOUSE_POSTGRES_URL:-}" ]; then
    echo "LAKEHOUSE_DATA_DIR, LAKEHOUSE_STORAGE or LAKEHOUSE_POSTGRES_URL is set: this only deletes the default data/. Delete yours by hand." >&2
    exit 1
fi
if [ -e data/up.lock ] && ! flock --nonblock data/up.lock true; then
    echo "\`make up\` is running: end it first." >&2
    exit 1
fi
if [ -z "${YES:-}" ]; then
    read -rp "Delete everything in $PWD/data and Dagster's history? [y/N] " answer
    [ "$answer" = y ] || exit 1
fi
find dagster_home -mindepth 1 ! -name dagster.yaml -delete
rm -rf data
echo "The lake is gone; \`make demo\` makes a new one."
