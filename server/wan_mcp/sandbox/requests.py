"""
What the calls ask for, checked: the body of an order, and the parameters of the task list.

Sources: https://help.aliyun.com/zh/model-studio/text-to-image-v2-api-reference,
https://www.alibabacloud.com/help/en/model-studio/wan-image-generation-and-editing-api-reference and
https://help.aliyun.com/zh/model-studio/manage-asynchronous-tasks
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from wan_mcp.sandbox.errors import RefusalError, invalid_parameter
from wan_mcp.sandbox.models import DAY, Model, SizeError, WireProtocol

_DEFAULT_COUNT = 4
"""Images of an order that cannot be read."""
_SET_LIMIT = 12
_SEED_LIMIT = 2_147_483_647
_LARGEST_PAGE = 100
_LAST_PAGE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedOrder:
    """
    What the body of an order asks for; the defaults stand for a body that cannot be read.

    The prompt is cut to the model's limit. `width` and `height` are in pixels. `seed` is None where the caller leaves
    it to the service. `as_set` asks for up to `count` images that belong together.
    """

    prompt: str = ""
    width: int = 0
    height: int = 0
    count: int = _DEFAULT_COUNT
    seed: int | None = None
    prompt_extend: bool = True
    watermark: bool = False
    as_set: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """
    What a call of the task list asks for.

    Submissions from `since` to `until` (seconds since 1970), in pages counted from 1. The other fields are those that
    a row must have; None stands for any.
    """

    since: float
    until: float
    page: int
    page_size: int
    task_id: str | None = None
    model: str | None = None
    status: str | None = None
    region: str | None = None
    api_key_id: str | None = None


class _Parameters(BaseModel):
    size: str | None = None
    n: int | None = None
    seed: int | None = None
    prompt_extend: bool | None = None
    watermark: bool | None = None
    negative_prompt: str | None = None
    enable_sequential: bool | None = None


class _ContentPart(BaseModel):
    text: str | None = None
    image: str | None = None


class _Message(BaseModel):
    role: str
    content: list[_ContentPart]


class _MessagesInput(BaseModel):
    messages: list[_Message]


class _PromptInput(BaseModel):
    prompt: str
    negative_prompt: str | None = None


class _MessagesBody(BaseModel):
    input: _MessagesInput
    parameters: _Parameters = Field(default_factory=_Parameters)


class _LegacyBody(BaseModel):
    input: _PromptInput
    parameters: _Parameters = Field(default_factory=_Parameters)


def parse_order(body: dict[str, Any], model: Model, protocol: WireProtocol) -> ParsedOrder:
    """
    Read the body of an order, in the form of its protocol.

    Raises:
        RefusalError: something is missing, of the wrong kind or outside its range.
    """
    try:
        if protocol is WireProtocol.LEGACY:
            legacy = _LegacyBody.model_validate(body)
            prompt, parameters = legacy.input.prompt, legacy.parameters
        else:
            newer = _MessagesBody.model_validate(body)
            prompt, parameters = _read_messages(newer.input.messages), newer.parameters
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        location = ".".join(str(step) for step in first["loc"])
        raise _refuse(f"{first['msg']}: {location}") from None
    if not prompt.strip():
        raise _refuse("The prompt must not be empty.")
    as_set = bool(parameters.enable_sequential) and model.image_sets
    width, height = _read_size(parameters.size, model, as_set=as_set)
    return ParsedOrder(
        prompt=prompt[: model.prompt_limit],
        width=width,
        height=height,
        count=_read_count(parameters.n, limit=_SET_LIMIT if as_set else model.most_images),
        seed=_check_seed(parameters.seed),
        prompt_extend=parameters.prompt_extend is not False,
        watermark=bool(parameters.watermark),
        as_set=as_set,
    )


def parse_list_query(parameters: Mapping[str, str], now: float, zone: tzinfo) -> ListQuery:
    """
    Read the parameters of the task list; its times are those of a zone.

    Raises:
        RefusalError: a time or a number is malformed, or the span is longer than 24 hours.
    """
    start, end = parameters.get("start_time"), parameters.get("end_time")
    since = _read_time("start_time", start, zone) if start else None
    # The format has whole seconds: the last one belongs to the span.
    until = _read_time("end_time", end, zone) + 1 if end else None
    if until is None:
        until = now if since is None else since + DAY
    if since is None:
        since = until - DAY
    if not since <= until <= since + DAY + 1:
        raise _refuse("The time span of start_time and end_time must not exceed 24 hours.")
    return ListQuery(
        since=since,
        until=until,
        page=_read_number(parameters, "page_no", default=1, largest=_LAST_PAGE),
        page_size=_read_number(parameters, "page_size", default=10, largest=_LARGEST_PAGE),
        task_id=parameters.get("task_id") or None,
        model=parameters.get("model_name") or None,
        status=parameters.get("status") or None,
        region=parameters.get("region") or None,
        api_key_id=parameters.get("api_key_id") or None,
    )


def _refuse(message: str) -> RefusalError:
    return RefusalError(invalid_parameter(message))


def _read_messages(messages: list[_Message]) -> str:
    if len(messages) != 1:
        raise _refuse("messages length only support 1")
    message = messages[0]
    if message.role != "user":
        raise _refuse("The role of the message must be user.")
    if any(part.image is not None for part in message.content):
        raise _refuse("Image request limit violated, expected 0: the sandbox paints from text only.")
    texts = [part.text for part in message.content if part.text is not None]
    if not texts:
        raise _refuse("lack of image or text")
    if len(texts) > 1:
        raise _refuse("Text request limit violated, expected 1.")
    return texts[0]


def _read_size(size: str | None, model: Model, *, as_set: bool) -> tuple[int, int]:
    try:
        width, height = model.sizes.measure(size)
    except SizeError as error:
        raise _refuse(str(error)) from None
    # Only a single plain picture may be larger than 2048 by 2048.
    if as_set and width * height > 2048**2:
        raise _refuse("The total pixels of size should be in [589824, 4194304].")
    return width, height


def _read_count(wanted: int | None, *, limit: int) -> int:
    if wanted is None:
        return limit
    if not 1 <= wanted <= limit:
        raise _refuse(f"Range of n should be [1, {limit}]")
    return wanted


def _check_seed(seed: int | None) -> int | None:
    if seed is not None and not 0 <= seed <= _SEED_LIMIT:
        raise _refuse(f"Range of seed should be [0, {_SEED_LIMIT}]")
    return seed


def _read_time(name: str, text: str, zone: tzinfo) -> float:
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=zone).timestamp()
    except ValueError:
        raise _refuse(f"{name} must be of the form YYYYMMDDhhmmss.") from None


def _read_number(parameters: Mapping[str, str], name: str, *, default: int, largest: int) -> int:
    text = parameters.get(name) or str(default)
    number = int(text) if re.fullmatch(r"[0-9]{1,9}", text) else 0
    if not 1 <= number <= largest:
        raise _refuse(f"Range of {name} should be [1, {largest}]")
    return number
