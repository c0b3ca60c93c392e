"""
The upload host: a look-alike of the object store that takes pictures for 48 hours, and the permits to put them there.

Sources: https://help.aliyun.com/zh/model-studio/get-temporary-file-url and
https://www.alibabacloud.com/help/en/oss/developer-reference/postobject
"""

import hashlib
import hmac
import json
import logging
import uuid
from base64 import b64decode, b64encode
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import anyio
import anyio.to_thread
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import Response

from wan_mcp.clock import Clock, utc
from wan_mcp.sandbox.catalogue.model import Model
from wan_mcp.sandbox.errors import RefusalError
from wan_mcp.sandbox.image_host import KEY_ID, xml_error
from wan_mcp.sandbox.inputs import inspect_file
from wan_mcp.sandbox.stores import SandboxStore, UploadRecord

UPLOAD_PATH = "/upload"
PERMIT_SECONDS = 300
"""How long a permit is good."""

_SECRET = b"sandbox uploads"
_ACL, _FORBID = "private", "true"
_DEFAULT_MB = 10
_LARGEST_MB = 20
_FORM_BYTES = 64 * 1024
"""What the form has beside its file, at most."""
_AT_ONCE = 4
"""Uploads that are read at a time: each is in memory until it was looked at."""
_LONGEST_SECONDS = 120
_ORDER = ("OSSAccessKeyId", "Signature", "policy", "x-oss-object-acl", "x-oss-forbid-overwrite")
_OPTIONAL = ("success_action_status", "x-oss-content-type")
_log = logging.getLogger(__name__)


class UploadHost:
    """
    Takes files by HTML form. Of each a few facts and a small copy are kept, never its bytes.

    `keys_seen` counts requests that brought an Authorization header, which an upload host must never see.
    """

    def __init__(self, store: SandboxStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._at_once = anyio.CapacityLimiter(_AT_ONCE)
        self.keys_seen = 0

    async def post_file(self, request: Request) -> Response:
        """Take a file, or say in XML why not."""
        if "authorization" in request.headers:
            self.keys_seen += 1
            _log.warning("A request to the upload host carried an Authorization header.")
            reason = "SANDBOX: an Authorization header reached the upload host. The key must never be sent there."
            response = xml_error(request, 403, "AuthorizationSent", reason)
            response.headers["x-sandbox-warning"] = "an Authorization header reached the upload host"
            return response
        async with self._at_once:
            with anyio.move_on_after(_LONGEST_SECONDS):
                return await self._take(request)
        return xml_error(request, 400, "RequestTimeout", "The upload took too long.")

    async def _take(self, request: Request) -> Response:
        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            return xml_error(request, 400, "MalformedPOSTRequest", "The body is no multipart/form-data.")
        parser = _FormParser(request.headers, _bounded(request.stream()), max_files=1, max_fields=20)
        try:
            form = await parser.parse()
        except MultiPartException as error:
            return xml_error(request, 400, "MalformedPOSTRequest", error.message)
        except _TooLargeError:
            return xml_error(request, 400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size.")
        try:
            return await self._check(request, form.multi_items())
        finally:
            await form.close()

    async def _check(self, request: Request, items: Sequence[tuple[str, UploadFile | str]]) -> Response:
        if fault := check_fields([name for name, _ in items]):
            return xml_error(request, 400, "InvalidArgument", fault)
        fields = {name: value for name, value in items if isinstance(value, str)}
        file = items[-1][1]
        if not isinstance(file, UploadFile) or len(fields) != len(items) - 1:
            return xml_error(request, 400, "IncorrectNumberOfFilesInPOSTRequest", "POST requires one file upload.")
        if refusal := check_permit(fields, file.size or 0, self._clock.now()):
            return xml_error(request, *refusal)
        return await self._keep(request, fields, file)

    async def _keep(self, request: Request, fields: Mapping[str, str], file: UploadFile) -> Response:
        key, size = fields["key"], file.size or 0
        try:
            picture = await anyio.to_thread.run_sync(inspect_file, file.file, size)
        except RefusalError:
            # The store takes any bytes; the order that names them is refused.
            picture = None
        if picture is not None and not await self._store.add_upload(UploadRecord(key, self._clock.now(), picture)):
            reason = "The object you specified already exists and can not be overwritten."
            return xml_error(request, 409, "FileAlreadyExists", reason)
        status = 200 if fields.get("success_action_status") == "200" else 204
        return Response(status_code=status, headers={"x-oss-request-id": uuid.uuid4().hex[:24].upper()})


def make_permit(model: Model, host: str, now: float) -> dict[str, str]:
    """
    Give what allows to upload one picture for a model to the address `host`, until `PERMIT_SECONDS` after `now`.

    Numbers are texts, as the service has them.
    """
    megabytes = model.inputs.most_bytes // 1024**2 if model.inputs else _DEFAULT_MB
    folder = f"{_folder_of(model.name)}/{utc(now).date()}/{uuid.uuid4()}"
    terms = {
        "expiration": utc(now + PERMIT_SECONDS).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "expires": now + PERMIT_SECONDS,
        "conditions": [
            ["content-length-range", 0, megabytes * 1024**2],
            ["starts-with", "$key", folder],
            {"x-oss-object-acl": _ACL},
            {"x-oss-forbid-overwrite": _FORBID},
        ],
    }
    policy = b64encode(json.dumps(terms).encode()).decode()
    return {
        "policy": policy,
        "signature": _sign(policy),
        "upload_dir": folder,
        "upload_host": host,
        "expire_in_seconds": str(PERMIT_SECONDS),
        "max_file_size_mb": str(megabytes),
        "capacity_limit_mb": "999999999",
        "oss_access_key_id": KEY_ID,
        "x_oss_object_acl": _ACL,
        "x_oss_forbid_overwrite": _FORBID,
    }


def is_key_of(key: str, model: str) -> bool:
    """Say whether an uploaded file may be used with a model: a permit is for one."""
    return key.startswith(f"{_folder_of(model)}/")


def check_fields(names: Sequence[str]) -> str | None:
    """
    Say what is wrong with the names and the order of a form's fields, if anything.

    The page has `key` after the permit, the official SDK within it; `file` is the last one for both.
    """
    if not names or names[-1] != "file":
        return "The field file must be the last one of the form."
    if len(set(names)) != len(names):
        return "A field of the form is there twice."
    if missing := {*_ORDER, "key"} - set(names):
        return f"The field {min(missing)} is missing."
    if unknown := set(names) - {*_ORDER, *_OPTIONAL, "key", "file"}:
        return f"The field {min(unknown)} is not one of an upload."
    ordered = [name for name in names if name in _ORDER]
    return None if ordered == list(_ORDER) else f"The fields must be in this order: {', '.join(_ORDER)}, key, file."


def check_permit(fields: Mapping[str, str], size: int, now: float) -> tuple[int, str, str] | None:
    """Say why a form does not fit its permit: the status, the code and the words of the store; None if it does."""
    if fields["OSSAccessKeyId"] != KEY_ID:
        return 403, "InvalidAccessKeyId", "The OSS Access Key Id you provided does not exist in our records."
    if not hmac.compare_digest(_sign(fields["policy"]).encode(), fields["Signature"].encode()):
        reason = "The request signature we calculated does not match the signature you provided."
        return 403, "SignatureDoesNotMatch", reason
    terms: dict[str, Any] = json.loads(b64decode(fields["policy"]))
    if now > terms["expires"]:
        return 403, "AccessDenied", "Invalid according to Policy: Policy expired."
    (_, _, most), (_, _, folder), *equal = terms["conditions"]
    if not fields["key"].startswith(f"{folder}/") or fields["key"] == f"{folder}/":
        return 403, "AccessDenied", 'Invalid according to Policy: Policy Condition failed: ["starts-with", "$key"]'
    for condition in equal:
        for name, value in condition.items():
            if fields[name] != value:
                reason = f'Invalid according to Policy: Policy Condition failed: ["eq", "${name}", "{value}"]'
                return 403, "AccessDenied", reason
    if size > most:
        return 400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size."
    return None


class _TooLargeError(Exception):
    """Raised when more is sent than any permit allows."""


class _FormParser(MultiPartParser):
    # What is looked at once and thrown away needs no file.
    spool_max_size = (_LARGEST_MB + 1) * 1024**2
    max_part_size = _FORM_BYTES


async def _bounded(stream: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    received = 0
    async for chunk in stream:
        received += len(chunk)
        if received > _LARGEST_MB * 1024**2 + _FORM_BYTES:
            raise _TooLargeError
        yield chunk


def _folder_of(model: str) -> str:
    return f"dashscope-instant/{hashlib.sha256(model.encode()).hexdigest()[:32]}"


def _sign(policy: str) -> str:
    return b64encode(hmac.digest(_SECRET, policy.encode(), "sha1")).decode()
