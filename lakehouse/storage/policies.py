"""Rights in the storage, for each who needs some: as policies for AWS IAM and as identities for SeaweedFS."""

from __future__ import annotations

from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

READ_OBJECTS = ["s3:GetObject", "s3:GetObjectVersion"]
WRITE_OBJECTS = ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
LOOK = ["s3:ListBucket", "s3:ListBucketVersions"]
BUCKET = ["s3:GetBucketLocation", "s3:GetBucketVersioning", "s3:ListBucketMultipartUploads"]
MAKE = ["s3:CreateBucket", "s3:PutBucketVersioning", "s3:PutLifecycleConfiguration", "s3:DeleteObjectVersion"]


class Who(StrEnum):
    """Whose key it is."""

    query = "query"
    reader = "reader"
    writer = "writer"
    owner = "owner"


def iam_policy(uri: str, who: Who) -> dict[str, Any]:
    """AWS's policy for a key over the storage `s3://bucket/prefix`.

    query: what is published. reader: every file. writer: writes and deletes, but can't destroy earlier versions, nor
    change the bucket. owner: makes the bucket and has it keep versions.
    """
    bucket, prefix = _parts(uri)
    below = f"{prefix}published/" if who is Who.query else prefix
    arn = f"arn:aws:s3:::{bucket}"
    objects = READ_OBJECTS + (WRITE_OBJECTS if who in (Who.writer, Who.owner) else [])
    statements: list[dict[str, Any]] = [
        {"Sid": "Objects", "Effect": "Allow", "Action": objects, "Resource": f"{arn}/{below}*"},
        {"Sid": "List", "Effect": "Allow", "Action": LOOK, "Resource": arn},
    ]
    if below:
        statements[1]["Condition"] = {"StringLike": {"s3:prefix": [f"{below}*"]}}
    if who in (Who.writer, Who.owner):
        statements.append({"Sid": "Bucket", "Effect": "Allow", "Action": BUCKET, "Resource": arn})
    if who is Who.owner:
        statements.append({"Sid": "Make", "Effect": "Allow", "Action": MAKE, "Resource": [arn, f"{arn}/*"]})
    return {"Version": "2012-10-17", "Statement": statements}


def seaweedfs_identity(uri: str, who: Who, key_id: str, secret: str) -> dict[str, Any]:
    """The same as an identity of SeaweedFS's `-s3.config` file.

    Its rights are coarser: to write is to delete versions, too, and the owner is an administrator.
    """
    bucket, prefix = _parts(uri)
    below = f"{bucket}/{prefix}published/*" if who is Who.query else f"{bucket}/{prefix}*"
    kinds = ["Read", "List"] + (["Write", "Tagging"] if who is Who.writer else [])
    return {
        "name": f"{bucket}-{who}",
        "credentials": [{"accessKey": key_id, "secretKey": secret}],
        "actions": ["Admin"] if who is Who.owner else [f"{kind}:{below}" for kind in kinds],
    }


def _parts(uri: str) -> tuple[str, str]:
    """Bucket, and prefix with a slash at its end."""
    parts = urlsplit(uri)
    prefix = parts.path.strip("/")
    return parts.netloc, f"{prefix}/" if prefix else ""
