"""
What the calls ask for, checked: the body of an order, and the parameters of the task list.

Sources: https://help.aliyun.com/zh/model-studio/text-to-image-v2-api-reference,
https://www.alibabacloud.com/help/en/model-studio/wan-image-generation-and-editing-api-reference and
https://help.aliyun.com/zh/model-studio/manage-asynchronous-tasks
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wan_mcp.sandbox.catalogue.model import DAY, Mode, Model, WireProtocol
from wan_mcp.sandbox.inputs import InputPicture, check_picture
from wan_mcp.sandbox.parameters import (
    Parameters,
    check_parameters,
    check_strictly,
    find_mode,
    read_count,
    read_size,
    refuse,
)

_DEFAULT_COUNT = 4
"""Images of an order that cannot be read."""
_MOST_PARTS = 100
_LARGEST_PAGE = 100
_LAST_PAGE = 1_000_000
_TRANSPARENT = re.compile(r"(?<!non-)\btransparen(?:t|cy)\b|\balpha channel\b|\bRGBA\b|透明", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderBody:
    """
    An order as its body says it, before its pictures were looked at.

    The prompt is cut to the model's limit. `images` are the addresses of the pictures in their order.
    """

    prompt: str
    images: tuple[str, ...]
    parameters: Parameters
    mode: Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedOrder:
    """
    What the body of an order asks for; the defaults stand for a body that cannot be read.

    `width` and `height` are in pixels. `seed` is None where the caller leaves it to the service. `mode` says what is
    asked for: a set or a story is up to `count` images. `inputs` are the pictures that came with it. With
    `transparent` the ground of the images is.
    """

    prompt: str = ""
    width: int = 0
    height: int = 0
    count: int = _DEFAULT_COUNT
    seed: int | None = None
    prompt_extend: bool = True
    watermark: bool = False
    mode: Mode = Mode.TEXT
    inputs: tuple[InputPicture, ...] = ()
    transparent: bool = False


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


class _Loose(BaseModel):
    model_config = ConfigDict(extra="allow")


class _ContentPart(_Loose):
    text: str | None = None
    image: str | None = None


class _Message(_Loose):
    role: str
    content: Annotated[list[_ContentPart], Field(max_length=_MOST_PARTS)]


class _MessagesInput(_Loose):
    messages: list[_Message]


class _PromptInput(_Loose):
    prompt: str
    negative_prompt: str | None = None
    ref_img: str | None = None


class _ImagesInput(_Loose):
    prompt: str
    images: Annotated[list[str], Field(max_length=_MOST_PARTS)]
    negative_prompt: str | None = None


class _MessagesBody(_Loose):
    model: str
    input: _MessagesInput
    parameters: Parameters = Field(default_factory=Parameters)


class _LegacyBody(_Loose):
    model: str
    input: _PromptInput
    parameters: Parameters = Field(default_factory=Parameters)


class _LegacyEditBody(_Loose):
    model: str
    input: _ImagesInput
    parameters: Parameters = Field(default_factory=Parameters)


def read_body(body: dict[str, Any], model: Model, protocol: WireProtocol, *, strict: bool) -> OrderBody:
    """
    Read the body of an order, in the form of its protocol; its pictures are counted and not looked at.

    `strict` also refuses what the service passes over and a careful client never sends.

    Raises:
        RefusalError: something is missing, of the wrong kind or too often there.
    """
    try:
        prompt, images, parameters = _read(body, protocol, strict=strict)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        location = ".".join(str(step) for step in first["loc"])
        raise refuse(f"{first['msg']}: {location}") from None
    if not prompt.strip():
        raise refuse("The prompt must not be empty.")
    mode = find_mode(parameters, model, len(images))
    least, most = model.modes[mode].inputs
    if len(images) < least:
        raise refuse("lack of image or text")
    if len(images) > most:
        expected = f"{least}-{most}" if most > least else str(most)
        raise refuse(f"Image request limit violated, expected {expected}.")
    return OrderBody(prompt=prompt[: model.prompt_limit], images=images, parameters=parameters, mode=mode)


def make_order(
    body: OrderBody, model: Model, protocol: WireProtocol, pictures: Sequence[InputPicture], *, strict: bool
) -> ParsedOrder:
    """
    Check an order with its pictures, those of `body.images` in their order.

    Raises:
        RefusalError: something is outside its range, or not for this model.
    """
    parameters, mode = body.parameters, body.mode
    if strict:
        check_strictly(parameters, model, mode, protocol, len(pictures))
    if model.inputs is not None:
        for picture in pictures:
            check_picture(picture, model.inputs, strict=strict)
    check_parameters(parameters, model, mode, protocol, pictures)
    width, height = read_size(parameters, model, mode, pictures)
    return ParsedOrder(
        prompt=body.prompt,
        width=width,
        height=height,
        count=read_count(parameters, mode, model.modes[mode]),
        seed=parameters.seed,
        prompt_extend=model.extends if parameters.prompt_extend is None else parameters.prompt_extend,
        watermark=bool(parameters.watermark),
        mode=mode,
        inputs=tuple(pictures),
        transparent=model.paints_alpha and _TRANSPARENT.search(body.prompt) is not None,
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
        raise refuse("The time span of start_time and end_time must not exceed 24 hours.")
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


def _read(body: dict[str, Any], protocol: WireProtocol, *, strict: bool) -> tuple[str, tuple[str, ...], Parameters]:
    """Give prompt, pictures and parameters."""
    if protocol is WireProtocol.LEGACY:
        legacy = _LegacyBody.model_validate(body)
        if strict:
            _refuse_extras(legacy, legacy.input)
        images = () if legacy.input.ref_img is None else (legacy.input.ref_img,)
        return legacy.input.prompt, images, legacy.parameters
    if protocol is WireProtocol.LEGACY_EDIT:
        edit = _LegacyEditBody.model_validate(body)
        if strict:
            _refuse_extras(edit, edit.input)
        return edit.input.prompt, tuple(edit.input.images), edit.parameters
    newer = _MessagesBody.model_validate(body)
    if strict:
        _refuse_extras(newer, newer.input, *newer.input.messages)
    prompt, images = _read_messages(newer.input.messages, strict=strict)
    return prompt, images, newer.parameters


def _refuse_extras(*parts: BaseModel) -> None:
    for part in parts:
        if part.model_extra:
            raise refuse(f"sandbox: the body has an unknown field {min(part.model_extra)}.")


def _read_messages(messages: list[_Message], *, strict: bool) -> tuple[str, tuple[str, ...]]:
    if len(messages) != 1:
        raise refuse("messages length only support 1")
    message = messages[0]
    if message.role != "user":
        raise refuse("The role of the message must be user.")
    images = tuple(part.image for part in message.content if part.image is not None)
    texts = [part.text for part in message.content if part.text is not None]
    if not texts:
        raise refuse("lack of image or text")
    if len(texts) > 1:
        raise refuse("Text request limit violated, expected 1.")
    if strict:
        if any(len(part.model_fields_set) + len(part.model_extra or ()) != 1 for part in message.content):
            raise refuse("sandbox: a part of the content is one text or one image.")
        if message.content[-1].text is None:
            raise refuse("sandbox: the images come before the text.")
    return texts[0], images


def _read_time(name: str, text: str, zone: tzinfo) -> float:
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=zone).timestamp()
    except ValueError:
        raise refuse(f"{name} must be of the form YYYYMMDDhhmmss.") from None


def _read_number(parameters: Mapping[str, str], name: str, *, default: int, largest: int) -> int:
    text = parameters.get(name) or str(default)
    number = int(text) if re.fullmatch(r"[0-9]{1,9}", text) else 0
    if not 1 <= number <= largest:
        raise refuse(f"Range of {name} should be [1, {largest}]")
    return number
