"""An S3 prefix as storage: any store that speaks S3, with conditional writes and, for versions, versioning on."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import mimetypes
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lakehouse.settings import Settings, SettingsError
from lakehouse.storage.protocol import ConflictError, NotThereError, Progress, StorageError, StoredObject

PART_BYTES = 16 * 1024 * 1024
CHECKSUM = "sha256"
"""Name of the user metadata that carries the whole file's SHA-256: an ETag of a multipart upload is no checksum."""
FORBIDDEN = ("403", "AccessDenied")
REASONS = {
    "AccessDenied": "these credentials may not do that",
    "InvalidAccessKeyId": "the access key is unknown there",
    "SignatureDoesNotMatch": "the secret key is wrong",
    "NoSuchBucket": "there is no such bucket",
    "403": "these credentials may not do that",
}


def s3_credentials(settings: Settings) -> dict[str, str]:
    """key_id, secret and, for temporary ones, session_token: the settings', else what boto3 finds (roles, profiles).

    Raises:
        SettingsError: there are none.
    """
    if settings.s3_access_key_id:
        return {"key_id": settings.s3_access_key_id, "secret": settings.s3_secret_access_key.get_secret_value()}
    import boto3

    found = boto3.Session().get_credentials()
    if found is None:
        raise SettingsError(
            f"There are no credentials for {settings.storage if settings.stores_on_s3 else 'S3'}: set "
            "LAKEHOUSE_S3_ACCESS_KEY_ID and LAKEHOUSE_S3_SECRET_ACCESS_KEY."
        )
    frozen = found.get_frozen_credentials()
    token = {"session_token": frozen.token} if frozen.token else {}
    return {"key_id": frozen.access_key, "secret": frozen.secret_key, **token}


def duckdb_secret(settings: Settings) -> dict[str, str | bool]:
    """The options of DuckDB's CREATE SECRET for the storage."""
    options: dict[str, str | bool] = {"type": "s3", "provider": "config", **s3_credentials(settings)}
    options |= {"region": settings.s3_region, "scope": "s3://" + urlsplit(settings.storage).netloc}
    if settings.s3_endpoint:
        endpoint = urlsplit(settings.s3_endpoint)
        options |= {"endpoint": endpoint.netloc, "url_style": "path", "use_ssl": endpoint.scheme == "https"}
    return options


def s3_client(settings: Settings) -> Any:
    """A boto3 client for the storage."""
    found = s3_credentials(settings)
    return _client(
        settings.s3_endpoint, settings.s3_region, found["key_id"], found["secret"], found.get("session_token")
    )


@lru_cache
def _client(endpoint: str, region: str, key_id: str, secret: str, token: str | None) -> Any:
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=endpoint or None,
        region_name=region,
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=client_config(endpoint),
    )


def client_config(endpoint: str) -> Any:
    """Short waits and a few retries: a store that is away is an error within seconds, one that stumbles is not."""
    from botocore.config import Config

    return Config(
        connect_timeout=5,
        read_timeout=60,
        retries={"mode": "standard", "max_attempts": 4},
        s3={"addressing_style": "path" if endpoint else "auto"},
    )


class S3Storage:
    """Keys are object keys below the prefix of `uri`."""

    def __init__(self, uri: str, client: Any) -> None:
        parts = urlsplit(uri)
        self.uri = uri.rstrip("/")
        self.bucket = parts.netloc
        self.prefix = parts.path.strip("/")
        self.client = client

    def uri_of(self, key: str) -> str:
        """`s3://bucket/prefix/key`."""
        return f"{self.uri}/{key}"

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """The objects below a prefix."""
        with self._explaining(prefix):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self._object_key(prefix)
            )
            for page in pages:
                yield from (self._described(found) for found in page.get("Contents", ()))

    def find(self, key: str) -> StoredObject | None:
        """HEAD."""
        try:
            with self._explaining(key):
                found = self.client.head_object(Bucket=self.bucket, Key=self._object_key(key))
        except NotThereError:
            return None
        return StoredObject(
            key,
            int(found["ContentLength"]),
            found["ETag"].strip('"'),
            found["LastModified"].timestamp(),
            found.get("VersionId", ""),
        )

    def read(self, key: str) -> tuple[bytes, str]:
        """GET."""
        with self._explaining(key):
            found = self.client.get_object(Bucket=self.bucket, Key=self._object_key(key))
            return found["Body"].read(), found["ETag"].strip('"')

    def write(self, key: str, content: bytes, *, replacing: str | None = None, new: bool = False) -> str:
        """PUT with If-Match or If-None-Match."""
        condition = {"IfNoneMatch": "*"} if new else {"IfMatch": f'"{replacing}"'} if replacing is not None else {}
        kind, _ = mimetypes.guess_type(key)  # a page that no browser would show without it
        if kind:
            condition["ContentType"] = kind
        with self._explaining(key):
            done = self.client.put_object(
                Bucket=self.bucket, Key=self._object_key(key), Body=content, ChecksumAlgorithm="SHA256", **condition
            )
        return str(done["ETag"]).strip('"')

    def upload(self, source: Path, key: str, progress: Progress = lambda _: None) -> StoredObject:
        """In parts when it is big. Each part's checksum is verified by the store, the whole's size and sum by us."""
        from boto3.s3.transfer import TransferConfig

        with open(source, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        with self._explaining(key):
            self.client.upload_file(
                str(source),
                self.bucket,
                self._object_key(key),
                Callback=progress,
                Config=TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES),
                ExtraArgs={"Metadata": {CHECKSUM: digest}, "ChecksumAlgorithm": "SHA256"},
            )
        found = self.find(key)
        size = source.stat().st_size
        if found is None or found.size_bytes != size or self.checksum(key) != digest:
            raise StorageError(
                f"{self.uri_of(key)} does not hold what {source} holds ({size:,} bytes): the file changed while it "
                "was sent, or somebody else wrote there. Upload it again."
            )
        return found

    def checksum(self, key: str) -> str:
        """The SHA-256 that `upload` left with the object; empty when something else wrote it."""
        with self._explaining(key):
            found = self.client.head_object(Bucket=self.bucket, Key=self._object_key(key), ChecksumMode="ENABLED")
        if found.get("ChecksumSHA256") and "-" not in found["ChecksumSHA256"]:
            return base64.b64decode(found["ChecksumSHA256"]).hex()
        return str(found.get("Metadata", {}).get(CHECKSUM, ""))

    def download(self, key: str, target: Path, version: str = "") -> None:
        """GET to a file, in parts when it is big. Raises ConflictError when it was replaced between two of them."""
        from s3transfer.exceptions import S3DownloadFailedError

        with self._explaining(key):
            extra = {"VersionId": version} if version else None
            try:
                self.client.download_file(self.bucket, self._object_key(key), str(target), ExtraArgs=extra)
            except S3DownloadFailedError:  # no Boto3Error
                raise ConflictError(f"{self.uri_of(key)} was written by somebody else meanwhile.") from None

    def copy(self, source: str, target: str, version: str = "") -> None:
        """Copied by the store, a big one in parts."""
        origin = {"Bucket": self.bucket, "Key": self._object_key(source), **({"VersionId": version} if version else {})}
        with self._explaining(source):
            # A copy in parts drops the metadata, and with it the checksum, unless they are given.
            metadata = self.client.head_object(**origin).get("Metadata", {})
            extra = {"Metadata": metadata, "MetadataDirective": "REPLACE"} if metadata else None
            self.client.copy(origin, self.bucket, self._object_key(target), ExtraArgs=extra)

    def delete(self, keys: Iterable[str]) -> None:
        """In requests of 1,000 keys."""
        wanted = list(keys)
        for start in range(0, len(wanted), 1000):
            batch = [{"Key": self._object_key(key)} for key in wanted[start : start + 1000]]
            with self._explaining(wanted[start]):
                done = self.client.delete_objects(Bucket=self.bucket, Delete={"Objects": batch, "Quiet": True})
            if done.get("Errors"):
                first = done["Errors"][0]
                raise StorageError(
                    f"{len(done['Errors'])} objects of {self.uri} could not be deleted, the first is {first['Key']}: "
                    f"{REASONS.get(first['Code'], first['Code'])}."
                )

    def versions(self, prefix: str) -> Iterator[StoredObject]:
        """Every version that the bucket keeps."""
        found: list[StoredObject] = []
        with self._explaining(prefix):
            pages = self.client.get_paginator("list_object_versions").paginate(
                Bucket=self.bucket, Prefix=self._object_key(prefix)
            )
            for page in pages:
                for kind in ("Versions", "DeleteMarkers"):
                    for entry in page.get(kind, ()):
                        found.append(
                            StoredObject(
                                self._key(entry["Key"]),
                                int(entry.get("Size", 0)),
                                entry.get("ETag", "").strip('"'),
                                entry["LastModified"].timestamp(),
                                entry["VersionId"],
                                bool(entry["IsLatest"]),
                                kind == "DeleteMarkers",
                            )
                        )
        # Stable: the store lists a key's versions newest first, and two of one second stay in its order.
        found.sort(key=lambda version: (version.key, not version.is_latest, -version.modified_at))
        yield from found

    def make_ready(self, *, create: bool = False) -> None:
        """Look for the bucket, `create` it where it is missing, and have it keep versions.

        A key that may only work below the prefix finds all that in order, or not its business (policies.py).
        """
        with self._explaining(""):
            try:
                self.client.head_bucket(Bucket=self.bucket)
            except self.client.exceptions.ClientError as error:
                code = error.response["Error"]["Code"]
                if code in FORBIDDEN:
                    self.client.list_objects_v2(Bucket=self.bucket, Prefix=self._object_key(""), MaxKeys=1)
                    return
                if code not in ("404", "NoSuchBucket"):
                    raise
                if not create:
                    raise StorageError(
                        f"{self.uri}: there is no bucket {self.bucket}. Create it (`lakehouse bootstrap "
                        "--create-bucket`), or correct LAKEHOUSE_STORAGE."
                    ) from None
                self._create_bucket()
            self._keep_versions()

    def _keep_versions(self) -> None:
        try:
            if self.client.get_bucket_versioning(Bucket=self.bucket).get("Status") != "Enabled":
                self.client.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})
        except self.client.exceptions.ClientError as error:
            if error.response["Error"]["Code"] not in FORBIDDEN:
                raise

    def _create_bucket(self) -> None:
        region = self.client.meta.region_name
        # Amazon takes every region's name here but that of its first.
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        with contextlib.suppress(self.client.exceptions.BucketAlreadyOwnedByYou):  # somebody else bootstraps too
            self.client.create_bucket(Bucket=self.bucket, **where)

    def _object_key(self, key: str) -> str:
        if ".." in key.split("/"):
            raise StorageError(f"{key} leads out of {self.uri}.")
        return f"{self.prefix}/{key}" if self.prefix else key

    def _key(self, object_key: str) -> str:
        return object_key.removeprefix(f"{self.prefix}/") if self.prefix else object_key

    def _described(self, found: dict[str, Any]) -> StoredObject:
        return StoredObject(
            self._key(found["Key"]), int(found["Size"]), found["ETag"].strip('"'), found["LastModified"].timestamp()
        )

    @contextlib.contextmanager
    def _explaining(self, key: str) -> Iterator[None]:
        """boto3's errors as sentences. They carry no credentials."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (ClientError, BotoCoreError, Boto3Error) as error:
            # boto3 wraps what the store answered to a transfer in an error of its own.
            refused = error if isinstance(error, ClientError) else error.__context__
            if isinstance(refused, ClientError):
                raise self._refusal(refused, key) from None
            raise StorageError(
                f"{self.uri_of(key)} can't be reached: {error}. Check LAKEHOUSE_S3_ENDPOINT, and that the store runs."
            ) from error

    def _refusal(self, error: Any, key: str) -> StorageError:
        answer = error.response.get("Error", {})
        code = str(answer.get("Code", ""))
        if code in ("404", "NoSuchKey", "NoSuchVersion"):
            return NotThereError(f"There is no {self.uri_of(key)}.")
        if code in ("PreconditionFailed", "412", "ConditionalRequestConflict", "409"):
            return ConflictError(f"{self.uri_of(key)} was written by somebody else meanwhile.")
        return StorageError(
            f"{self.uri_of(key)}: {REASONS.get(code) or answer.get('Message') or code} ({code}). "
            "Check LAKEHOUSE_STORAGE, LAKEHOUSE_S3_ENDPOINT and the keys."
        )
