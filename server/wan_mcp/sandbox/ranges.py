"""
Parts of an object, as the object store gives them.

Source: https://help.aliyun.com/en/oss/how-to-obtain-oss-resources-by-segmenting-http-range-requests
"""

import re
from enum import Enum

_FORM = re.compile(r"bytes=(?:(\d{1,15})-(\d{0,15})|-(\d{1,15}))(?:,.*)?")


class Extent(Enum):
    """An answer to a Range header that is not a part."""

    WHOLE = "whole"
    UNSATISFIABLE = "unsatisfiable"


def read_range(header: str | None, size: int, *, standard: bool) -> slice | Extent:
    """
    Find the bytes that a Range header asks for; of several ranges the first.

    A range outside the object makes the store give the whole of it. The `standard` behaviour cuts the end off
    instead, and refuses a range that starts behind the end.
    """
    match = _FORM.fullmatch(header.strip()) if header else None
    if match is None:
        return Extent.WHOLE
    first, last, tail = match.groups()
    if tail is not None:
        start, stop = size - int(tail), size
    else:
        start, stop = int(first), int(last) + 1 if last else size
    if start >= stop and last:
        return Extent.WHOLE
    if 0 <= start < stop <= size:
        return slice(start, stop)
    if not standard:
        return Extent.WHOLE
    start, stop = max(start, 0), min(stop, size)
    return slice(start, stop) if start < stop else Extent.UNSATISFIABLE
