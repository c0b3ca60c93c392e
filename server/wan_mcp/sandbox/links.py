"""
Signed addresses of images, made and checked as the object store does it.

Source: https://www.alibabacloud.com/help/en/oss/developer-reference/add-signatures-to-urls
"""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from urllib.parse import quote

from wan_mcp.sandbox.records import TaskRecord

_KEY_ID = "LTAISandbox0000000000000"
# Guards nothing: the pictures are painted from what the caller sent. It only makes an altered link show.
_SECRET = b"sandbox"


class Verdict(StrEnum):
    """What the object store makes of a link."""

    GOOD = "good"
    UNSIGNED = "unsigned"
    EXPIRED = "expired"
    ALTERED = "altered"


def image_path(record: TaskRecord, place: int) -> str:
    """Give the path of a task's image; the task id and the place can be read from its last part."""
    mark = hashlib.sha256(record.task_id.encode()).hexdigest()
    day = datetime.fromtimestamp(record.ended, UTC).strftime("%Y%m%d")
    return f"/results/{mark[:2]}/{mark[2:4]}/{day}/{mark[4:12]}/{record.task_id}-{place}.png"


def signed_url(base: str, record: TaskRecord, place: int, life: float) -> str:
    """Give the whole address of a task's image, good until `life` seconds after the task's end."""
    path = image_path(record, place)
    expires = str(int(record.ended + life))
    signature = quote(sign("GET", path, expires), safe="")
    return f"{base}{path}?Expires={expires}&OSSAccessKeyId={_KEY_ID}&Signature={signature}"


def sign(method: str, path: str, expires: str) -> str:
    """Give the signature of a request: base64 of HMAC-SHA1 over the method, the end of life and the path."""
    text = f"{method}\n\n\n{expires}\n{path}"
    return b64encode(hmac.digest(_SECRET, text.encode(), "sha1")).decode()


def judge(method: str, path: str, parameters: Mapping[str, str], now: float) -> Verdict:
    """Check a request against the link it uses."""
    expires, signature = parameters.get("Expires", ""), parameters.get("Signature", "")
    if not (expires.isascii() and expires.isdigit() and signature and parameters.get("OSSAccessKeyId")):
        return Verdict.UNSIGNED
    if len(expires) < len("9999999999") + 1 and now > int(expires):
        return Verdict.EXPIRED
    if parameters["OSSAccessKeyId"] != _KEY_ID:
        return Verdict.ALTERED
    good = hmac.compare_digest(sign(method, path, expires).encode(), signature.encode())
    return Verdict.GOOD if good else Verdict.ALTERED
