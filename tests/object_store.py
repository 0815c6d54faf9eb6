"""A real S3 server (SeaweedFS from its wheel), started and stopped by whoever needs it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_ports

ACCESS_KEY, SECRET_KEY = "lake-key", "lake-secret-2hT9"
READER_KEY, READER_SECRET = "reader-key", "reader-secret-7Qx1"
READY_SECONDS = 100.0
ATTEMPTS = 4
"""Once in hundreds of starts its parts do not find each other, however long one waits."""
ON_BOTH = pytest.mark.parametrize("storage_environment", ["folder", "s3"], indirect=True)
"""Marks a test of what S3 does otherwise than a folder."""


@dataclass
class ObjectStore:
    """A server, with an identity that may do everything and one that may read `<any bucket>/…/published/` only."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    arguments: list[str] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def client(self, key: str = ACCESS_KEY, secret: str = SECRET_KEY) -> Any:
        """A boto3 client."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key=secret,
        )

    def new_bucket(self) -> str:
        """A bucket of its own for a test, whose reader may read what lies below `lake/published/`."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return name

    def environment(self, bucket: str) -> dict[str, str]:
        """Settings that put a lakehouse into the bucket."""
        return {
            "LAKEHOUSE_STORAGE": f"s3://{bucket}/lake",
            "LAKEHOUSE_S3_ENDPOINT": self.endpoint,
            "LAKEHOUSE_S3_ACCESS_KEY_ID": ACCESS_KEY,
            "LAKEHOUSE_S3_SECRET_ACCESS_KEY": SECRET_KEY,
        }

    def start(self) -> None:
        """Start, or start again over the same data."""
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                self.arguments, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder
            )
        deadline = time.monotonic() + READY_SECONDS
        while problem := self._problem():
            if self.process.poll() is not None or time.monotonic() > deadline:
                log_tail = (self.folder / "log").read_text()[-2000:]
                raise RuntimeError(f"SeaweedFS did not start: {problem}\n{log_tail}") from problem
            time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL: what it holds on disk stays."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _problem(self) -> Exception | None:
        """None when it answers, and has volumes to write to."""
        try:
            with urllib.request.urlopen(f"{self.endpoint}/healthz", timeout=5):
                pass
            probe = self.client()
            if "ready" not in [bucket["Name"] for bucket in probe.list_buckets()["Buckets"]]:
                probe.create_bucket(Bucket="ready")
            probe.put_object(Bucket="ready", Key="probe", Body=b"1")
        except Exception as error:
            return error
        return None


@contextmanager
def serve(*identities: dict[str, Any]) -> Iterator[ObjectStore]:
    """A server with an empty folder of its own. It knows these identities beside its own two."""
    folder = Path(tempfile.mkdtemp(prefix="object-store-"))
    (folder / "identities.json").write_text(
        json.dumps(
            {
                "identities": [
                    {
                        "name": "lake",
                        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
                        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
                    },
                    {
                        "name": "reader",
                        "credentials": [{"accessKey": READER_KEY, "secretKey": READER_SECRET}],
                        "actions": ["Read:*/lake/published/*", "List:*/lake/published/*"],
                    },
                    *identities,
                ]
            }
        )
    )
    for attempt in range(1, ATTEMPTS + 1):
        store = _new(folder, folder / f"data-{attempt}")
        try:
            store.start()
            break
        except RuntimeError:
            store.kill()
            if attempt == ATTEMPTS:
                raise
    try:
        yield store
    finally:
        store.kill()  # SIGTERM takes it up to 25 seconds, and its data go anyway
        shutil.rmtree(folder, ignore_errors=True)


def _new(folder: Path, data: Path) -> ObjectStore:
    """One with free ports that was not started yet."""
    data.mkdir()
    master, volume, filer, s3 = free_ports(4)
    local = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    arguments = [
        str(Path(sys.executable).parent / "weed"), "-logtostderr=true", "server", f"-dir={data}", *local,
        f"-master.port={master}", f"-volume.port={volume}", "-filer", f"-filer.port={filer}", "-s3", f"-s3.port={s3}",
        "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={folder / 'identities.json'}",
        "-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=0", "-volume.preStopSeconds=0",
        "-master.electionTimeout=1s", "-master.heartbeatInterval=100ms",
    ]  # fmt: skip
    return ObjectStore(folder, s3, arguments=arguments)
