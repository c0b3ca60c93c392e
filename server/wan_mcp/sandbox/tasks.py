"""
From an order to its task: what will come of it, when it runs, and how it stands at any time.

Some words of a prompt make the sandbox misbehave, for trying things out:

| the prompt holds   | what happens                                                                         |
|--------------------|--------------------------------------------------------------------------------------|
| `sandbox:refuse`   | the inspection refuses the prompt: `DataInspectionFailed`                            |
| `sandbox:infringe` | the prompt is suspected of infringement: `IPInfringementSuspect`                     |
| `sandbox:fail`     | the work breaks off at its end: `InternalError.Timeout`                              |
| `sandbox:partial`  | one of two or more images is missing: an error in its place on the legacy protocol,  |
|                    | one image fewer on the newer protocols                                               |
| `sandbox:fewer`    | a set or a story ends at half of its images                                          |
| `sandbox:slow`     | the order takes 60 seconds                                                           |
| a word of a short  | as `sandbox:refuse`: a small stand-in for the service's inspection                   |
| moderation list    |                                                                                      |

The refusals fail the task on the asynchronous protocols, and are an error answer on the synchronous one.
"""

import re
import secrets
import uuid
from dataclasses import dataclass
from enum import StrEnum

from wan_mcp.sandbox.catalogue.model import DAY, Mode, Model, UsageShape, WireProtocol
from wan_mcp.sandbox.errors import INFRINGING, INPUT_INSPECTED, TIMED_OUT, ErrorReply
from wan_mcp.sandbox.inputs import InputPicture
from wan_mcp.sandbox.requests import ParsedOrder

_SLOW_SECONDS = 60.0
_REFUSAL_SECONDS = 0.05
"""How long a task runs that fails before any work is done."""
_MODERATED = re.compile(r"\b(?:gore|beheading|dismember\w*|torture|porn\w*|nude)\b|血腥|色情", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What will come of an order.

    `refusal` is decided before any work, `failure` at the end of it. Images with an index in `missing` (from 1) are
    not made. `is_short` ends a set before it is full. `seconds` replaces the usual duration.
    """

    refusal: ErrorReply | None = None
    failure: ErrorReply | None = None
    missing: tuple[int, ...] = ()
    is_short: bool = False
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """An order on its way in; `request_id` is the id of the creating call."""

    request_id: str
    model: Model
    protocol: WireProtocol
    order: ParsedOrder
    outcome: Outcome


class TaskState(StrEnum):
    """
    The states of a task.

    Source: https://help.aliyun.com/zh/model-studio/manage-asynchronous-tasks
    """

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """
    A task as it is written down once: its order, and everything that will become of it.

    Its state is never stored: it follows from the record and the time. Times are seconds since 1970. `count` images
    are wanted, `width` by `height` pixels each; those with an index in `missing` (from 1) are never made. `failure`
    is why the task fails, if it does. `mode` says what was asked for, `usage` how its images are counted, `inputs`
    are the pictures that came with it, and with `transparent` the ground of the images is. The images are not stored
    either: they follow from the record as well.
    """

    task_id: str
    request_id: str
    protocol: WireProtocol
    model: str
    prompt: str
    width: int
    height: int
    count: int
    seed: int
    prompt_extend: bool
    watermark: bool
    submitted: float
    started: float
    ended: float
    failure: ErrorReply | None = None
    missing: tuple[int, ...] = ()
    mode: Mode = Mode.TEXT
    usage: UsageShape = UsageShape.SIZE
    transparent: bool = False
    inputs: tuple[InputPicture, ...] = ()
    canceled: float | None = None

    @property
    def finished(self) -> float:
        """When the task reaches its last state."""
        return self.ended if self.canceled is None else self.canceled

    @property
    def image_indexes(self) -> tuple[int, ...]:
        """The indexes, from 1, of the images that are made if the task succeeds."""
        return tuple(index for index in range(1, self.count + 1) if index not in self.missing)


def read_outcome(prompt: str) -> Outcome:
    """Look for the words of the table above in a prompt, in any case."""
    text = prompt.casefold()
    refusal = None
    if "sandbox:refuse" in text or _MODERATED.search(text):
        refusal = INPUT_INSPECTED
    elif "sandbox:infringe" in text:
        refusal = INFRINGING
    return Outcome(
        refusal=refusal,
        failure=TIMED_OUT if "sandbox:fail" in text else None,
        missing=(2,) if "sandbox:partial" in text else (),
        is_short="sandbox:fewer" in text,
        seconds=_SLOW_SECONDS if "sandbox:slow" in text else None,
    )


def plan_task(submission: Submission, now: float, free_from: float, *, pending: float, duration: float) -> TaskRecord:
    """
    Write the whole life of an order down, at the time `now` of its submission.

    The task waits `pending` seconds, and longer if the model has a place for it only at the time `free_from`. It is
    done `duration` seconds after its submission if it did not have to wait longer.
    """
    order, outcome = submission.order, submission.outcome
    # How many images a set has is the model's affair: the order says how many at most.
    is_short = outcome.is_short and order.mode in (Mode.SET, Mode.INTERLEAVE)
    count = -(-order.count // 2) if is_short else order.count
    started = max(now + pending, free_from)
    work = (outcome.seconds or duration) - pending
    if outcome.refusal is not None:
        work = min(work, _REFUSAL_SECONDS)
    return TaskRecord(
        task_id=str(uuid.uuid4()),
        request_id=submission.request_id,
        protocol=submission.protocol,
        model=submission.model.name,
        prompt=order.prompt,
        width=order.width,
        height=order.height,
        count=count,
        seed=secrets.randbelow(2**31) if order.seed is None else order.seed,
        prompt_extend=order.prompt_extend,
        watermark=order.watermark,
        submitted=now,
        started=started,
        ended=started + work,
        failure=outcome.refusal or outcome.failure,
        missing=tuple(index for index in outcome.missing if index <= count),
        mode=order.mode,
        usage=submission.model.usage,
        transparent=order.transparent,
        inputs=order.inputs,
    )


def state_of(record: TaskRecord | None, now: float) -> TaskState:
    """Say how a task stands at a time; one that nobody knows, or that is over for a day, is UNKNOWN."""
    if record is None or is_forgotten(record, now):
        return TaskState.UNKNOWN
    if record.canceled is not None:
        return TaskState.CANCELED
    if now < record.started:
        return TaskState.PENDING
    if now < record.ended:
        return TaskState.RUNNING
    return TaskState.SUCCEEDED if record.failure is None else TaskState.FAILED


def is_forgotten(record: TaskRecord, now: float) -> bool:
    """Say whether the task's time is over: the service keeps it for 24 hours after its end."""
    return now > record.finished + DAY
