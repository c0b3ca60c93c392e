"""
Why an image host did not give the image.

Source: https://www.alibabacloud.com/help/en/oss/developer-reference/error-codes-1
"""

import re
from urllib.parse import parse_qs

from wan_mcp.dashscope.quotes import clean_code
from wan_mcp_tools.domain.errors import DownloadError, LinkExpiredError

_CODE = re.compile(r"<Code>\s*([^<]{1,64}?)\s*</Code>")
_PASSING = frozenset({408, 425, 429})
_SERVER_TROUBLE = 500
_FORBIDDEN = 403
_GONE = 410


def is_passing(status: int) -> bool:
    """Tell whether the same request may succeed soon."""
    return status >= _SERVER_TROUBLE or status in _PASSING


def refuse_image(status: int, body: str, *, host: str, query: str, now: float) -> DownloadError:
    """
    Turn a refusal of the image host into our error for it.

    `body` is the start of its answer, `query` the signed query of the address, `now` in seconds since 1970.
    """
    found = _CODE.search(body)
    code = clean_code(found.group(1)) if found else None
    expired = status == _FORBIDDEN and ("has expired" in body or _ends_at(query) < now)
    if expired or status == _GONE or code == "NoSuchKey":
        return LinkExpiredError(
            f"The link to the image at {host} is over: links live for 24 hours.",
            "Ask for the task again; if it is not older than a day it brings a new link.",
        )
    if is_passing(status):
        return DownloadError(
            f"The image host {host} had trouble (HTTP {status}).", "Try again in a moment.", code=code
        )
    error = DownloadError(
        f"The image host {host} refused to give the image (HTTP {status}).",
        "An address that was copied must be exactly as the service gave it: one changed sign breaks its signature.",
        code=code,
    )
    error.retryable = False
    return error


def _ends_at(query: str) -> float:
    """Read from a signed query when the link ends, in seconds since 1970; infinity if it does not tell."""
    value = parse_qs(query).get("Expires", [""])[0]
    return float(value) if value.isascii() and value.isdecimal() else float("inf")
