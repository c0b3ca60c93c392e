"""
The arguments that the tools share: type, words and schema of each.

The bounds here are for the words of a refusal. They are checked by `Catalogue`, whose answer says what to do
instead. Hosts do not see them: some check calls by a schema themselves, and would refuse without these words what
is wrong, and also what is right: no image for the default, a prompt that an operator's own model reads, the id of a
region.

Each argument that is no choice has one example, in its words: some clients drop the keyword `examples`. What stands
for nothing is left out by `Arguments`. Gemini knows one type for each argument and refuses lists of types and
`anyOf`, and its command line passes over a tool with an argument that has no type; `nullable` both know. So a
schema says that null is read where it is the natural word for nothing, in six arguments: in all of them it would
take half a kilobyte of what models read. It cannot say that a number as text is read. Source:
https://ai.google.dev/api/caching#Schema
"""

import json
from typing import Annotated, Any, cast

from pydantic import BeforeValidator, Field
from pydantic.config import JsonDict, JsonValue
from pydantic.json_schema import SkipJsonSchema, WithJsonSchema

from wan_mcp_tools.catalogue.catalogue import MAX_SEED, MOST_IMAGES, Catalogue
from wan_mcp_tools.domain.errors import RequestRefusedError
from wan_mcp_tools.domain.requests import ImageRequest
from wan_mcp_tools.domain.service import ImageFormat
from wan_mcp_tools.domain.tasks import TaskStatus
from wan_mcp_tools.tool import Arguments, is_nothing

_BRITISH = "CANCELLED"
_LONGEST_WAIT = 3600
_SHORT_JPEG = "jpg"
LEAST_SIDE, MOST_SIDE = 16, 4096
"""Pixels: the longest side of a copy."""


def _field(description: str, **bounds: JsonValue) -> Any:  # noqa: ANN401 - what pydantic's Field gives, too
    """Describe an argument, with bounds that are checked elsewhere."""

    def show(schema: JsonDict) -> None:
        schema.update(bounds)
        if schema.get("default", "") is None:
            del schema["default"]

    return Field(description=description, json_schema_extra=show)


def _refuse_switch(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("true and false are no numbers")  # noqa: TRY004 - pydantic reads ValueError only
    return value


def _read_count(value: object) -> object:
    """Read nought as nothing: nobody orders no image."""
    is_nought = value == 0 or (isinstance(value, str) and value.strip() == "0")
    return None if is_nought and not isinstance(value, bool) else value


def _read_status(value: object) -> object:
    if isinstance(value, str):
        status = value.strip().upper()
        return TaskStatus.CANCELED if status == _BRITISH else status
    return value


def _read_format(value: object) -> object:
    if isinstance(value, str):
        name = value.strip().lower().removeprefix(".")
        return ImageFormat.JPEG if name == _SHORT_JPEG else name
    return value


def _read_images(value: object) -> object:
    """Read a single text as one reference, and the text of a JSON list as that list; no member may be blank."""
    if isinstance(value, str):
        value = _read_json(value, list) or [value]
    if isinstance(value, list):
        members = cast("list[object]", value)
        if any(is_nothing(member) for member in members):
            raise ValueError("a member names no picture")
        return members or None
    return value


def _read_options(value: object) -> object:
    """Read the text of a JSON object as that object."""
    value = (_read_json(value, dict) if isinstance(value, str) else None) or value
    return value or None


def _read_json(text: str, kind: type) -> Any:  # noqa: ANN401 - JSON
    """Read JSON of one kind; None if the text holds something else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, kind) else None


_NO_SWITCH = BeforeValidator(_refuse_switch)

Prompt = Annotated[
    str,
    _field(
        "What it shows or what to change, in any language, e.g. put the cup of image 1 on the table of image 2.",
        minLength=1,
        maxLength=5000,
    ),
]
Images = Annotated[
    list[str] | SkipJsonSchema[None],
    BeforeValidator(_read_images),
    _field(
        "Up to 10, e.g. a path (in the image folder or an allowed one), a URL, or TASK_ID#1 for an earlier result.",
        maxItems=MOST_IMAGES,
    ),
]
Options = Annotated[
    dict[str, Any] | SkipJsonSchema[None],
    BeforeValidator(_read_options),
    WithJsonSchema({"type": "object"}),
    _field(
        'What only some models have, e.g. {"enable_sequential": true} of wan2.7: a set that belongs together, the '
        "prompt says how many, to 12. wan://models/ID lists them, and so does a refusal."
    ),
]
NegativePrompt = Annotated[
    str | SkipJsonSchema[None], _field("What to keep out, e.g. text, people; not for wan2.7.", maxLength=500)
]
ModelId = Annotated[
    str | SkipJsonSchema[None],
    _field(
        "e.g. wan2.6-t2i (usual default) or wan2.7-image (with images), 0.03 USD an image; wan2.7-image-pro (to 4K) "
        "0.075; qwen-image-3.0-pro: lettering; qwen-image-2.1-pro: transparent. Cheapest: z-image-turbo 0.015."
    ),
]
Size = Annotated[
    str | SkipJsonSchema[None],
    _field(
        "1:1 3:4 4:3 9:16 (phone) 16:9; any other shape in pixels, e.g. 2240*896; 1K 2K 4K. Default with "
        "images: the last file's shape."
    ),
]
Count = Annotated[
    int | SkipJsonSchema[None],
    _NO_SWITCH,
    BeforeValidator(_read_count),
    _field("How many images, default 1, e.g. 4 for four variations; each is paid for.", minimum=1, maximum=12),
]
Seed = Annotated[
    int | SkipJsonSchema[None],
    _NO_SWITCH,
    _field("e.g. 42; repeated, it gives similar images.", minimum=0, maximum=MAX_SEED, nullable=True),
]
PromptExtend = Annotated[
    bool | SkipJsonSchema[None], _field("Let the service enrich the prompt; default true; not for wan2.7.")
]
Watermark = Annotated[bool, _field("Put an AI mark at the lower right.")]
RegionName = Annotated[
    str | SkipJsonSchema[None],
    _field(
        "singapore beijing virginia frankfurt tokyo hongkong; sandbox: offline, free, for tests only: placeholder "
        "pictures. Default: the operator's."
    ),
]
OutputDir = Annotated[
    str | SkipJsonSchema[None],
    _field(
        "Absolute and allowed, e.g. /home/me/site/assets; relative ones are in the image folder, not your project."
    ),
]
Filename = Annotated[str | SkipJsonSchema[None], _field("Without a folder, e.g. flower-shop.")]
_Seconds = Annotated[float, Field(allow_inf_nan=False)] | SkipJsonSchema[None]
WaitSeconds = Annotated[
    _Seconds,
    _NO_SWITCH,
    _field("e.g. 45; then the answer is the task as it is.", minimum=0, maximum=_LONGEST_WAIT),
]
OrderWaitSeconds = Annotated[
    _Seconds,
    _NO_SWITCH,
    _field("e.g. 45, the default unless the operator set another.", minimum=0, maximum=_LONGEST_WAIT),
]
TaskId = Annotated[str, _field("From an earlier answer, e.g. 0385dc79-5ff8-...", minLength=1)]
OptionalTaskId = Annotated[
    str | SkipJsonSchema[None], _field("From an earlier answer, e.g. 0385dc79-5ff8-...", nullable=True)
]
Index = Annotated[int, _NO_SWITCH, _field("Which image of the task, e.g. 2; counted from 1.", minimum=1)]
Url = Annotated[
    str | SkipJsonSchema[None],
    _field("A result URL, e.g. https://...png?..., in place of task_id.", nullable=True),
]
ImagePath = Annotated[
    str | SkipJsonSchema[None],
    _field("A saved image, e.g. /home/me/fox-1.png, in place of task_id.", nullable=True),
]
Status = Annotated[
    TaskStatus | SkipJsonSchema[None],
    BeforeValidator(_read_status),
    WithJsonSchema({"type": "string", "enum": [status.value for status in TaskStatus]}),
    _field("Only tasks in this state."),
]
Limit = Annotated[int, _NO_SWITCH, _field("How many tasks, to 100.", minimum=1, maximum=100)]
Cursor = Annotated[str | SkipJsonSchema[None], _field("The cursor of the page before.")]
Remote = Annotated[bool, _field("Also ask the service.")]
Fresh = Annotated[
    bool,
    Field(description="Order and pay anew, e.g. when asked for a new one."),
]


Format = Annotated[
    ImageFormat | SkipJsonSchema[None],
    BeforeValidator(_read_format),
    WithJsonSchema({"type": "string", "enum": [each.value for each in ImageFormat]}),
    _field("Of a copy."),
]
MaxSide = Annotated[
    int | SkipJsonSchema[None],
    _NO_SWITCH,
    _field("Longest side, e.g. 800.", minimum=LEAST_SIDE, maximum=MOST_SIDE),
]
Since = Annotated[str | SkipJsonSchema[None], _field("e.g. yesterday, 2026-11-27, or a time.")]
Until = Annotated[str | SkipJsonSchema[None], _field("e.g. today; a day is included.")]
Costs = Annotated[bool, _field("Sum up costs instead.")]


class OrderArguments(Arguments):
    """What can be said of a picture that is wanted."""

    prompt: Prompt
    images: Images = None
    negative_prompt: NegativePrompt = None
    model: ModelId = None
    size: Size = None
    n: Count = None
    seed: Seed = None
    prompt_extend: PromptExtend = None
    watermark: Watermark = False
    options: Options = None
    region: RegionName = None
    output_dir: OutputDir = None
    filename: Filename = None
    fresh: Fresh = False

    def make_request(self, catalogue: Catalogue) -> ImageRequest:
        """
        Check the order against what is offered.

        Raises:
            RequestRefusedError: an argument is not one that the model or the region takes.
        """
        return catalogue.make_request(
            prompt=self.prompt,
            negative_prompt=self.negative_prompt,
            model=self.model,
            size=self.size,
            n=self.n,
            seed=self.seed,
            prompt_extend=self.prompt_extend,
            watermark=self.watermark,
            region=self.region,
            output_dir=self.output_dir,
            filename=self.filename,
            images=self.images,
            options=self.options,
        )


def check_one_image(tool: str, task_id: str | None, index: int, **otherwise: str | None) -> None:
    """
    Make sure that a call names one image: by its task and index, or by the one other argument that is given by name.

    Raises:
        RequestRefusedError: it names none or two, or an index of what has none.
    """
    ((name, value),) = otherwise.items()
    if (task_id is None) == (value is None):
        raise RequestRefusedError(f"{tool} takes either task_id or {name}.", "Give one of them.")
    if value is not None and index != 1:
        raise RequestRefusedError(
            f"index={index} belongs to a task_id, and a {name} is one image already.",
            f"Leave index out, or give task_id and index in place of {name}.",
        )
