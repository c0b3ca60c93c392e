"""
The models of the service and what it makes of a request body.

Source: https://help.aliyun.com/zh/model-studio/text-to-image-v2-api-reference and the Wan 2.7 image page. The
documented minimum of Wan 2.5 and 2.6 is not held: the same page recommends sizes below it. Its older minimum is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Protocol = Literal["sync", "async", "legacy"]
Problem = tuple[str, str]

BEIJING, SINGAPORE, VIRGINIA, FRANKFURT = "cn-beijing", "ap-southeast-1", "us-east-1", "eu-central-1"
REGION_IDS = {
    "beijing": BEIJING,
    "singapore": SINGAPORE,
    "virginia": VIRGINIA,
    "frankfurt": FRANKFURT,
    "tokyo": "ap-northeast-1",
    "hongkong": "cn-hongkong",
}

PATHS: dict[str, Protocol] = {
    "/services/aigc/multimodal-generation/generation": "sync",
    "/services/aigc/image-generation/generation": "async",
    "/services/aigc/text2image/image-synthesis": "legacy",
}


@dataclass(frozen=True)
class SizeRule:
    """Pixels in total, pixels a side, and the longest side over the shortest; `fixed` replaces all three."""

    area: tuple[int, int] = (0, 10**9)
    side: tuple[int, int] = (1, 10**5)
    ratio: int = 100
    fixed: tuple[str, ...] = ()
    named: tuple[tuple[str, int], ...] = ()

    def measure(self, size: str) -> tuple[int, int] | None:
        """Answer width and height, or None for a size outside the rule."""
        for name, edge in self.named:
            if size == name:
                return edge, edge
        width_text, star, height_text = size.partition("*")
        if not (star and width_text.isdecimal() and height_text.isdecimal()) or (
            self.fixed and size not in self.fixed
        ):
            return None
        width, height = int(width_text), int(height_text)
        short, long = sorted((width, height))
        fits = self.side[0] <= short and long <= self.side[1] and long <= short * self.ratio
        return (width, height) if fits and self.area[0] <= width * height <= self.area[1] else None


@dataclass(frozen=True)
class Model:
    """One row of the catalogue."""

    protocols: frozenset[Protocol]
    regions: frozenset[str]
    default_size: str
    sizes: SizeRule


_NEW: frozenset[Protocol] = frozenset({"sync", "async"})
_OLD: frozenset[Protocol] = frozenset({"legacy"})
_BOTH = frozenset({BEIJING, SINGAPORE})
_WINDOW = SizeRule(area=(768 * 768, 1440 * 1440), ratio=4)
_SIDES = SizeRule(side=(512, 1440))
_K = (("1K", 1024), ("2K", 2048))

MODELS: dict[str, Model] = {
    "wan2.7-image-pro": Model(
        _NEW, _BOTH, "2K", SizeRule(area=(768**2, 4096**2), ratio=8, named=(*_K, ("4K", 4096)))
    ),
    "wan2.7-image": Model(_NEW, _BOTH, "2K", SizeRule(area=(768**2, 2048**2), ratio=8, named=_K)),
    "wan2.6-t2i": Model(_NEW, _BOTH | {VIRGINIA, FRANKFURT}, "1280*1280", _WINDOW),
    "wan2.5-t2i-preview": Model(_OLD, _BOTH, "1280*1280", _WINDOW),
    "wan2.2-t2i-plus": Model(_OLD, _BOTH, "1024*1024", _SIDES),
    "wan2.2-t2i-flash": Model(_OLD, _BOTH, "1024*1024", _SIDES),
    "wanx2.1-t2i-plus": Model(_OLD, frozenset({BEIJING}), "1024*1024", _SIDES),
    "wanx2.1-t2i-turbo": Model(_OLD, frozenset({BEIJING}), "1024*1024", _SIDES),
    "wan2.1-t2i-plus": Model(_OLD, frozenset({SINGAPORE}), "1024*1024", _SIDES),
    "wan2.1-t2i-turbo": Model(_OLD, frozenset({SINGAPORE}), "1024*1024", _SIDES),
    "wanx2.0-t2i-turbo": Model(_OLD, frozenset({BEIJING}), "1024*1024", _SIDES),
    "wanx-v1": Model(
        _OLD,
        frozenset({BEIJING}),
        "1024*1024",
        SizeRule(fixed=("1024*1024", "720*1280", "768*1152", "1280*720")),
    ),
}


@dataclass(frozen=True)
class Order:
    """
    What the service understood of a body.

    `problem` is the code and message of the first thing wrong with it: a synchronous call answers it with 400, an
    asynchronous one accepts the order and fails later. A `negative_prompt` in the other protocol's place is not seen.
    """

    model: str
    prompt: str
    negative_prompt: str | None
    n: int
    size: str
    width: int
    height: int
    extend: bool
    problem: Problem | None


def find_refusal(
    protocol: Protocol, body: Any, headers: Mapping[str, str], region: str | None
) -> tuple[int, str, str] | None:
    """Answer status, code and message of what is refused at once: model, address and header, nothing else."""
    if not isinstance(body, dict):
        return 400, "InvalidParameter", "Required body invalid, please check the request body format."
    name = body.get("model")
    if not isinstance(name, str) or not name:
        return 400, "BadRequest.EmptyModel", 'Required parameter "model" missing from request.'
    model = MODELS.get(name)
    if model is None or (region is not None and region not in model.regions):
        return 400, "InvalidParameter", "Model not exist."
    if protocol not in model.protocols:
        link = "https://help.aliyun.com/document_detail/2712195.html#error-url"
        return 400, "InvalidParameter", f"url error, please check url！ For details, see: {link}"
    wants_async = headers.get("x-dashscope-async", "").lower() == "enable"
    if wants_async == (protocol == "sync"):
        word = "asynchronous" if wants_async else "synchronous"
        return 403, "AccessDenied", f"current user api does not support {word} calls."
    if protocol == "sync" and region == FRANKFURT:
        return 403, "AccessDenied", "current user api does not support synchronous calls."
    return None


def read_order(protocol: Protocol, body: Mapping[str, Any]) -> Order:
    """Read a body whose model exists; defaults are the documented ones, so a missing `n` means four images."""
    model = MODELS[body["model"]]
    given, parameters = _mapping(body.get("input")), _mapping(body.get("parameters"))
    if protocol == "legacy":
        prompt, problem, negative = given.get("prompt"), None, given.get("negative_prompt")
        if not isinstance(prompt, str) or not prompt:
            problem = ("InvalidParameter", "Field required: input.prompt")
    else:
        negative = parameters.get("negative_prompt")
        prompt, problem = _read_messages(given.get("messages"))
    n = parameters.get("n", 4)
    if type(n) is not int or not 1 <= n <= 4:
        n, problem = 0, problem or ("InvalidParameter", "Range of n should be [1, 4]")
    size = parameters.get("size", model.default_size)
    measured = model.sizes.measure(size) if isinstance(size, str) else None
    if measured is None:
        problem = problem or ("InvalidParameter", f"Parameter size is not valid: {size}")
    seed = parameters.get("seed", 0)
    if type(seed) is not int or not 0 <= seed <= 2147483647:
        problem = problem or ("InvalidParameter", "Range of seed should be [0, 2147483647]")
    width, height = measured or (0, 0)
    return Order(
        body["model"],
        prompt if isinstance(prompt, str) else "",
        negative if isinstance(negative, str) else None,
        n,
        str(size),
        width,
        height,
        parameters.get("prompt_extend", True) is not False,
        problem,
    )


def _read_messages(messages: Any) -> tuple[str | None, Problem | None]:
    if not isinstance(messages, list) or not messages:
        return None, ("InvalidParameter", "Field required: input.messages")
    message = _mapping(messages[0])
    if len(messages) != 1 or message.get("role") != "user":
        return None, ("InvalidParameter", "messages length only support 1")
    content = message.get("content")
    parts = [_mapping(part) for part in content] if isinstance(content, list) else []
    texts = [part["text"] for part in parts if isinstance(part.get("text"), str) and part["text"]]
    if not texts:
        return None, ("InvalidParameter", "lack of image or text")
    if len(texts) > 1:
        return None, ("InvalidParameter", "Text request limit violated, expected 1.")
    return texts[0], None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
