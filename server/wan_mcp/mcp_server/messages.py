"""
One message of JSON-RPC from bytes, and the answer to bytes that are none.

Whoever sent something unreadable waits for an answer. It gets an error under its own id wherever that can be read, be
the rest cut off, damaged or endless.

Sources: https://www.jsonrpc.org/specification#error_object and
https://modelcontextprotocol.io/specification/2026-07-28/basic
"""

import json
import re
from collections.abc import Sequence
from typing import cast

from mcp.types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    RequestId,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError
from pydantic_core import from_json

MOST_BYTES = 16 * 1024 * 1024
"""Of one message. What is too large of its arguments is told in better words, so far more is read than is taken."""
HEAD_BYTES, TAIL_BYTES = 64 * 1024, 1024
"""What is kept of the beginning and of the end of a longer one, to find its id."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MOST_CHARACTERS, _MOST_BITS = 256, 128
"""Of an id, which every answer repeats, and of the name of a method."""
_MOST_TOKENS = 50_000
_MOST_IN_BATCH = 100

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKEN = re.compile(_STRING[:-1] + rb'(?:"|\Z)|[\[\]{}]', re.DOTALL)
_VALUE = re.compile(rb"\s*:\s*(" + _STRING + rb"|-?[0-9]{1,40})(?=\s*[,}])", re.DOTALL)
_SCALAR = rb'(?:"[^"\\]{0,300}"|[-+.\w]{1,40})'
_LAST_ID = re.compile(
    rb',\s*"id"\s*:\s*("[^"\\]{0,300}"|-?[0-9]{1,40})\s*(?:,\s*"\w{1,60}"\s*:\s*' + _SCALAR + rb"\s*)*\}\s*\Z"
)
"""The id among the last members of an object, where only plain values follow it."""


class UnreadableMessageError(Exception):
    """
    Raised when bytes are no message.

    `ids` are those of the requests in them, as far as they can be read. `is_too_long` says that only a part was kept.
    """

    def __init__(
        self, code: int, message: str, ids: Sequence[RequestId | None] = (None,), *, is_too_long: bool = False
    ) -> None:
        super().__init__(message)
        self.code = code
        self.ids = ids
        self.is_too_long = is_too_long

    @property
    def answers(self) -> list[JSONRPCError]:
        """The errors to answer with: one for each id, or one without an id."""
        error = ErrorData(code=self.code, message=str(self))
        return [JSONRPCError(jsonrpc="2.0", id=request_id, error=error) for request_id in self.ids]


def read_message(data: bytes, *, most: int = MOST_BYTES) -> bytes:
    """
    Check that data is one message of at most `most` bytes.

    It is given without the byte order mark that some programs begin with.

    Raises:
        UnreadableMessageError: it is too long, not UTF-8, not JSON, or no message.
    """
    data = data.removeprefix(_BYTE_ORDER_MARK)
    if len(data) > most:
        raise too_long(data[:HEAD_BYTES], data[-TAIL_BYTES:], len(data), most=most)
    try:
        message = jsonrpc_message_adapter.validate_json(data, by_name=False)
    except ValidationError:
        raise _explain(data) from None
    if isinstance(message, JSONRPCRequest):
        _check_request(message)
    elif isinstance(message, JSONRPCNotification) and "id" in from_json(data):
        raise UnreadableMessageError(INVALID_REQUEST, "The id of a request is a text or a whole number.")
    return data


def too_long(head: bytes, tail: bytes, size: int, *, most: int = MOST_BYTES) -> UnreadableMessageError:
    """Give the error for a message of `size` bytes, of which only the beginning and the end were kept."""
    found = _find_id(head)
    return UnreadableMessageError(
        INVALID_REQUEST,
        f"A message has at most {most} bytes, and this one has {size}.",
        [_find_last_id(tail) if found is None else found],
        is_too_long=True,
    )


def _check_request(request: JSONRPCRequest) -> None:
    if not _is_short(request.id):
        raise UnreadableMessageError(INVALID_REQUEST, f"An id has at most {_MOST_CHARACTERS} characters.")
    if len(request.method) > _MOST_CHARACTERS:
        message = f"The name of a method has at most {_MOST_CHARACTERS} characters."
        raise UnreadableMessageError(INVALID_REQUEST, message, [request.id])


def _explain(data: bytes) -> UnreadableMessageError:
    """Say why data is no message, and whose it is."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        reason = f"it is not UTF-8 at byte {error.start + 1}"
        return _broken(data, reason)
    try:
        value: object = from_json(data)
    except ValueError as error:
        reason = str(error)
        if "hex escape" in reason or "surrogate" in reason:
            reason = f"half a character (an unpaired surrogate) or a broken escape: {reason}"
        return _broken(data, reason)
    if isinstance(value, list):
        messages = cast("list[object]", value)
        ids = [request_id for each in messages if (request_id := _id_of(each)) is not None]
        message = "A batch is not read here; send each message by itself."
        return UnreadableMessageError(INVALID_REQUEST, message, ids[:_MOST_IN_BATCH] or [None])
    message = (
        "This is no message of JSON-RPC 2.0: it has jsonrpc, method, and for a request an id; params is an object."
    )
    return UnreadableMessageError(INVALID_REQUEST, message, [_id_of(value)])


def _broken(data: bytes, reason: str) -> UnreadableMessageError:
    found = _find_id(data)
    return UnreadableMessageError(
        PARSE_ERROR,
        f"The message cannot be read: {reason}. Send it again as well-formed JSON in UTF-8.",
        [_find_last_id(data[-TAIL_BYTES:]) if found is None else found],
    )


def _id_of(message: object) -> RequestId | None:
    """Give the id of what may be a request; the id of an answer is one of our own, and nobody waits for it."""
    if not isinstance(message, dict):
        return None
    members = cast("dict[str, object]", message)
    found = members.get("id")
    if "result" in members or "error" in members or isinstance(found, bool) or not isinstance(found, int | str):
        return None
    return found if _is_short(found) else None


def _is_short(request_id: RequestId) -> bool:
    if isinstance(request_id, str):
        return len(request_id) <= _MOST_CHARACTERS
    return request_id.bit_length() <= _MOST_BITS


def _find_id(data: bytes) -> RequestId | None:
    """Find the member `id` of the outermost object, whatever else is wrong with it or missing."""
    depth = 0
    for count, token in enumerate(_TOKEN.finditer(data)):
        if count > _MOST_TOKENS:
            return None
        text = token[0]
        if text in (b"{", b"["):
            depth += 1
        elif text in (b"}", b"]"):
            depth -= 1
        elif depth == 1 and text == b'"id"' and (value := _VALUE.match(data, token.end())):
            return _read_id(value[1])
    return None


def _find_last_id(tail: bytes) -> RequestId | None:
    found = _LAST_ID.search(tail)
    return _read_id(found[1]) if found else None


def _read_id(data: bytes) -> RequestId | None:
    try:
        return _id_of({"id": json.loads(data)})
    except ValueError:
        return None
