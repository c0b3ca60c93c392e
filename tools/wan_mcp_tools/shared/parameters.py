"""
The arguments that the tools share: type, words and schema of each.

The bounds in a schema are for the client to see. They are checked by `Offer`, whose answer says what to do
instead; a bound checked here would answer in the validator's words. An optional argument may also be null,
because some clients fill in every argument; its schema does not say so, because others cannot read `anyOf`.
"""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic.config import JsonDict
from pydantic.json_schema import SkipJsonSchema, WithJsonSchema

from wan_mcp_tools.shared.offer import MAX_SEED
from wan_mcp_tools.shared.tasks import TaskStatus

_BRITISH = "CANCELLED"


def _field(description: str, **bounds: int) -> Any:  # noqa: ANN401 - what pydantic's Field gives, too
    """Describe an argument, and show bounds that are checked elsewhere."""

    def show(schema: JsonDict) -> None:
        schema.update(bounds)
        if schema.get("default", "") is None:
            del schema["default"]

    return Field(description=description, json_schema_extra=show)


def _refuse_switch(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("true and false are no numbers")  # noqa: TRY004 - pydantic reads ValueError only
    return value


def _fall_back(default: object) -> BeforeValidator:
    """Read null as the default."""

    def replace_null(value: object) -> object:
        return default if value is None else value

    return BeforeValidator(replace_null)


def _read_status(value: object) -> object:
    if isinstance(value, str):
        status = value.strip().upper()
        return TaskStatus.CANCELED if status == _BRITISH else status or None
    return value


_NO_SWITCH = BeforeValidator(_refuse_switch)

Prompt = Annotated[str, _field("What the picture shows, in any language; wan2.6-t2i reads 2100 characters.")]
NegativePrompt = Annotated[
    str | SkipJsonSchema[None], _field("What to keep out, at most 500 characters. wan2.7 models have no such thing.")
]
ModelId = Annotated[
    str | SkipJsonSchema[None],
    _field("wan2.6-t2i (the usual default), wan2.7-image, wan2.7-image-pro (to 4K), wan2.2-t2i-flash, ..."),
]
Size = Annotated[
    str | SkipJsonSchema[None],
    _field("1280*1280 or 1280x1280, 1K 2K 4K, or a ratio 1:1 3:4 4:3 9:16 16:9. Default: the model's."),
]
Count = Annotated[int, _NO_SWITCH, _fall_back(1), _field("Number of images; each is paid for.", minimum=1, maximum=4)]
Seed = Annotated[
    int | SkipJsonSchema[None],
    _NO_SWITCH,
    _field("The same seed and prompt give similar images.", minimum=0, maximum=MAX_SEED),
]
PromptExtend = Annotated[
    bool | SkipJsonSchema[None], _field("Let the service enrich the prompt; default true. Not for wan2.7 models.")
]
Watermark = Annotated[bool, _fall_back(default=False), _field("Put an AI mark at the lower right.")]
RegionName = Annotated[
    str | SkipJsonSchema[None],
    _field("singapore, beijing, virginia, frankfurt or sandbox (offline, free). Default: the operator's."),
]
OutputDir = Annotated[
    str | SkipJsonSchema[None], _field("Folder to save in, one of the allowed ones. Default: the operator's.")
]
Filename = Annotated[
    str | SkipJsonSchema[None], _field("File name without a folder, e.g. flower-shop. Default: made from the prompt.")
]
WaitSeconds = Annotated[
    Annotated[float, Field(allow_inf_nan=False)] | SkipJsonSchema[None],
    _NO_SWITCH,
    _field("Longest wait in seconds. Once it is over, the answer is the task as it is by then.", minimum=0),
]
TaskId = Annotated[str, _field("The task_id of an earlier answer, also local-...")]
OptionalTaskId = Annotated[str | SkipJsonSchema[None], _field("The task_id of an earlier answer, also local-...")]
Index = Annotated[int, _NO_SWITCH, _fall_back(1), _field("Which image of the task, counted from 1.", minimum=1)]
Url = Annotated[str | SkipJsonSchema[None], _field("A result URL of the service, in place of task_id.")]
ImagePath = Annotated[str | SkipJsonSchema[None], _field("Path of a saved image, in place of task_id.")]
Status = Annotated[
    TaskStatus | SkipJsonSchema[None],
    BeforeValidator(_read_status),
    WithJsonSchema({"type": "string", "enum": [status.value for status in TaskStatus]}),
    _field("Only tasks in this state."),
]
Limit = Annotated[int, _NO_SWITCH, _fall_back(10), _field("How many tasks at most.", minimum=1, maximum=100)]
Cursor = Annotated[str | SkipJsonSchema[None], _field("The cursor of the page before.")]
Remote = Annotated[
    bool, _fall_back(default=False), _field("Also ask the service, and take in tasks that are not known here.")
]
