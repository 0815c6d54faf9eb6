#!/usr/bin/env bash
# Make the secrets of docker-compose.yml where they are missing: a file each, in a folder that only you may enter. The
# files themselves may be read by all, since the users inside the containers are others. Usage: compose_secrets.sh [FOLDER]
set -euo pipefail
folder=${1:-$(dirname "$0")/../secrets}
mkdir -p -m 0700 "$folder"
cd "$folder"

for name in postgres_password writer_password owner_s3_key writer_s3_key query_s3_key; do
    [ -s "$name" ] || rm -f "$name"
    [ -s "$name" ] || od -An -N24 -tx1 /dev/urandom | tr -d ' \n' > "$name"
done

# What each key may do in the bucket: lakehouse/storage/policies.py. To replace a key, delete its file and run this again.
rm -f object_store.json
cat > object_store.json <<JSON
{"identities": [
  {"name": "owner", "actions": ["Admin"],
   "credentials": [{"accessKey": "owner", "secretKey": "$(cat owner_s3_key)"}]},
  {"name": "writer", "actions": ["Read:lakehouse/lake/*", "List:lakehouse/lake/*", "Write:lakehouse/lake/*", "Tagging:lakehouse/lake/*"],
   "credentials": [{"accessKey": "writer", "secretKey": "$(cat writer_s3_key)"}]},
  {"name": "query", "actions": ["Read:lakehouse/lake/published/*", "List:lakehouse/lake/published/*"],
   "credentials": [{"accessKey": "query", "secretKey": "$(cat query_s3_key)"}]}
]}
JSON
chmod 0444 *_password *_key object_store.json
