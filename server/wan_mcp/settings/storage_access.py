"""The object store in which images are kept, where the operator has named one."""

import re
from dataclasses import field
from urllib.parse import urlsplit

from pydantic import SecretStr

from wan_mcp.settings.values import ProblemCode, Values
from wan_mcp_tools.domain.record import Record

STORAGE_URL = "WAN_MCP_STORAGE_URL"
_ENDPOINT, _KEY_ID, _KEY, _REGION = (
    "AWS_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_REGION",
)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
"""Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html"""
_PREFIX = re.compile(r"[A-Za-z0-9_.=-]+(?:/[A-Za-z0-9_.=-]+)*")
_OSS_HOST = re.compile(r"(?:^|\.)(?:s3\.)?oss-(?P<region>[a-z0-9-]+?)(?:-internal)?\.aliyuncs\.com$")
"""Alibaba Cloud OSS, which speaks S3 at `s3.oss-REGION.aliyuncs.com` and wants the bucket in the host's name."""
_REGION_NAME = re.compile(r"[a-z0-9-]{1,40}")
_FIRST_REGION = "us-east-1"


class StorageAccess(Record):
    """
    How the object store is reached: bucket and prefix (without slashes around it), endpoint, keys, region.

    Without keys the role of the machine is asked for some. `endpoint` is what requests go to: where
    `is_virtual_hosted` says so, its host begins with the bucket, and no path does.
    """

    bucket: str
    prefix: str
    endpoint: str
    region: str
    access_key_id: str | None = None
    secret_access_key: SecretStr | None = field(default=None, repr=False)
    allow_http: bool = False
    is_virtual_hosted: bool = False

    @property
    def address(self) -> str:
        """The place of all images, as `s3://bucket/prefix`."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


def read_storage(values: Values) -> StorageAccess | None:
    """Read where images are kept if that is no folder; what is wrong stands in `values.problems`."""
    text = values.text(STORAGE_URL)
    if text is None:
        return None
    bucket, slash, prefix = text.removeprefix("s3://").partition("/")
    prefix = prefix.rstrip("/")
    is_plain = _BUCKET.fullmatch(bucket) and (not slash or not prefix or _PREFIX.fullmatch(prefix))
    if not text.startswith("s3://") or not is_plain or {".", ".."} & set(prefix.split("/")):
        advice = "Use s3://BUCKET/PREFIX; the keys have settings of their own."
        values.refuse(STORAGE_URL, ProblemCode.URL, "is no address of an object store", advice)
        return None
    key_id, key = values.text(_KEY_ID), values.secret(_KEY)
    if (key_id is None) != (key is None):
        missing, other = (_KEY_ID, _KEY) if key_id is None else (_KEY, _KEY_ID)
        values.refuse(missing, ProblemCode.MISSING, f"is not set, and {other} is", "Set both, or neither.")
    allow_http = values.switch("AWS_ALLOW_HTTP")
    endpoint = _read_endpoint(values, allow_http=allow_http)
    host = (urlsplit(endpoint).hostname or "") if endpoint else ""
    oss = _OSS_HOST.search(host)
    region = _read_region(values) or (oss["region"] if oss else _FIRST_REGION)
    # A dot would make a host's name that the certificate does not cover.
    is_virtual_hosted = oss is not None or (endpoint is None and "." not in bucket)
    if endpoint is None:
        endpoint = f"https://s3.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
    if is_virtual_hosted and not host.startswith(f"{bucket}."):
        endpoint = endpoint.replace("://", f"://{bucket}.", 1)
    return StorageAccess(
        bucket,
        prefix,
        endpoint,
        region,
        access_key_id=key_id,
        secret_access_key=SecretStr(key) if key else None,
        allow_http=allow_http,
        is_virtual_hosted=is_virtual_hosted,
    )


def _read_region(values: Values) -> str | None:
    text = values.text(_REGION)
    if text is not None and not _REGION_NAME.fullmatch(text):
        values.refuse(
            _REGION, ProblemCode.REGION, f"is {text!r}, which is no region", "Use a name such as eu-west-1."
        )
        return None
    return text


def _read_endpoint(values: Values, *, allow_http: bool) -> str | None:
    text = values.text(_ENDPOINT)
    if text is None:
        return None
    try:
        parts = urlsplit(text)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address, parts = False, urlsplit("")
    if not is_address or "@" in parts.netloc or parts.query or parts.fragment:
        values.refuse(
            _ENDPOINT, ProblemCode.URL, "is no address of a server", "Use https://HOST or https://HOST:PORT."
        )
        return None
    if parts.scheme == "http" and not allow_http:
        advice = "Use https, or set AWS_ALLOW_HTTP=1 where the way there is your own."
        values.refuse(_ENDPOINT, ProblemCode.URL, "is plain http", advice)
        return None
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"
