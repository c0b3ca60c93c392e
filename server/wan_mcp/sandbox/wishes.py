"""
What the body of an order asks for, checked.

Sources: https://help.aliyun.com/zh/model-studio/text-to-image-v2-api-reference and
https://www.alibabacloud.com/help/en/model-studio/wan-image-generation-and-editing-api-reference
"""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from wan_mcp.sandbox.models import Model, SizeError, Wire

DEFAULT_COUNT = 4
"""Images, where the body does not say."""
_SET_LIMIT = 12
_SEED_LIMIT = 2_147_483_647


class WishError(ValueError):
    """Raised when an order asks for what the model cannot do; the message is the service's."""


@dataclass(frozen=True, slots=True)
class Wish:
    """
    An order that can be carried out.

    The prompt is cut to the model's limit. `seed` is None where the caller leaves it to the service. `as_set` asks
    for up to `count` images that belong together.
    """

    prompt: str
    width: int
    height: int
    count: int
    seed: int | None
    prompt_extend: bool
    watermark: bool
    as_set: bool


class _Parameters(BaseModel):
    size: str | None = None
    n: int | None = None
    seed: int | None = None
    prompt_extend: bool | None = None
    watermark: bool | None = None
    negative_prompt: str | None = None
    enable_sequential: bool | None = None


class _Part(BaseModel):
    text: str | None = None
    image: str | None = None


class _Message(BaseModel):
    role: str
    content: list[_Part]


class _Messages(BaseModel):
    messages: list[_Message]


class _Words(BaseModel):
    prompt: str
    negative_prompt: str | None = None


class _NewBody(BaseModel):
    input: _Messages
    parameters: _Parameters = Field(default_factory=_Parameters)


class _LegacyBody(BaseModel):
    input: _Words
    parameters: _Parameters = Field(default_factory=_Parameters)


def read_wish(body: dict[str, Any], model: Model, wire: Wire) -> Wish:
    """
    Read the body of an order, in the form of its protocol.

    Raises:
        WishError: something is missing, of the wrong kind or outside its range.
    """
    try:
        if wire is Wire.LEGACY:
            legacy = _LegacyBody.model_validate(body)
            prompt, parameters = legacy.input.prompt, legacy.parameters
        else:
            new = _NewBody.model_validate(body)
            prompt, parameters = _read_messages(new.input.messages), new.parameters
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        raise WishError(f"{first['msg']}: {place}") from None
    if not prompt.strip():
        raise WishError("The prompt must not be empty.")
    as_set = bool(parameters.enable_sequential) and model.image_sets
    width, height = _measure(parameters, model, as_set=as_set)
    return Wish(
        prompt=prompt[: model.prompt_limit],
        width=width,
        height=height,
        count=_count(parameters.n, as_set=as_set),
        seed=_check_seed(parameters.seed),
        prompt_extend=parameters.prompt_extend is not False,
        watermark=bool(parameters.watermark),
        as_set=as_set,
    )


def _read_messages(messages: list[_Message]) -> str:
    if len(messages) != 1:
        raise WishError("messages length only support 1")
    message = messages[0]
    if message.role != "user":
        raise WishError("The role of the message must be user.")
    if any(part.image is not None for part in message.content):
        raise WishError("Image request limit violated, expected 0: the sandbox paints from text only.")
    texts = [part.text for part in message.content if part.text is not None]
    if not texts:
        raise WishError("lack of image or text")
    if len(texts) > 1:
        raise WishError("Text request limit violated, expected 1.")
    return texts[0]


def _measure(parameters: _Parameters, model: Model, *, as_set: bool) -> tuple[int, int]:
    try:
        width, height = model.sizes.measure(parameters.size)
    except SizeError as error:
        raise WishError(str(error)) from None
    # Only a single plain picture may be larger than 2048 by 2048.
    if as_set and width * height > 2048**2:
        raise WishError("The total pixels of size should be in [589824, 4194304].")
    return width, height


def _count(wanted: int | None, *, as_set: bool) -> int:
    limit = _SET_LIMIT if as_set else DEFAULT_COUNT
    if wanted is None:
        return limit
    if not 1 <= wanted <= limit:
        raise WishError(f"Range of n should be [1, {limit}]")
    return wanted


def _check_seed(seed: int | None) -> int | None:
    if seed is not None and not 0 <= seed <= _SEED_LIMIT:
        raise WishError(f"Range of seed should be [0, {_SEED_LIMIT}]")
    return seed
