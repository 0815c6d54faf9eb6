"""`lakehouse bootstrap` over a bucket: one that is missing is an error, or created when asked."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lakehouse_assets.defs.environments import bootstrapping, deploying
from tests.lakehouse_instance import LakehouseInstance
from tests.object_store import ACCESS_KEY, SECRET_KEY, ObjectStore


@pytest.mark.slow
def test_a_missing_bucket_is_a_sentence_until_its_creation_is_asked_for(
    new_lakehouse: Callable[[], LakehouseInstance],
    object_store: ObjectStore,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = {
        "postgres_url": database_url,
        "storage": "s3://bootstrapped/lake",
        "s3_endpoint": object_store.endpoint,
        "s3_access_key_id": ACCESS_KEY,
        "s3_secret_access_key": SECRET_KEY,
    }
    lakehouse = new_lakehouse()
    done = lakehouse.command("bootstrap", **settings)
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no bucket bootstrapped" in done.stderr and "--create-bucket" in done.stderr

    # What it makes beside the lake the demo makes each time.
    monkeypatch.setattr(deploying, "_lacking", lambda *_: [])
    monkeypatch.setattr(bootstrapping, "make_states", lambda *_: None)
    done = lakehouse.command("bootstrap", "--create-bucket", **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The lake is there" in done.stdout
    assert object_store.client().get_bucket_versioning(Bucket="bootstrapped")["Status"] == "Enabled"
