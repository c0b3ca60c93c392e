"""From an answer of the service to one of our errors."""

from dataclasses import dataclass
from enum import Enum, auto

from pydantic import SecretStr

from wan_mcp.dashscope.quotes import clean, clean_code, clean_request_id
from wan_mcp.dashscope.refusal_table import (
    BY_CODE,
    BY_STATUS,
    MODEL,
    PAIRING,
    PICTURE_INSPECTION,
    QUOTA,
    TROUBLE,
    UNKNOWN,
    WRONG_ENDPOINT,
    Refusal,
    is_known,
    normalize,
)
from wan_mcp.dashscope.retries import HOPELESS_RETRY_AFTER, LONGEST_RETRY_AFTER
from wan_mcp_tools.domain.errors import (
    ContentRefusedError,
    QuotaError,
    ServiceDownError,
    ServiceError,
    ThrottledError,
)

_SHORTEST_SECRET = 6
_SERVER_TROUBLE = 500
_DAY = 86400


class Moment(Enum):
    """When the service refused: it decides what a caller can do about trouble of the service's own."""

    ORDER = auto()
    """In answer to an order: it is not known whether a task came of it."""
    ASK = auto()
    """In answer to a question, which can be asked again."""
    TASK = auto()
    """Inside a task that exists and failed, or for one image of it; such images are not billed."""


@dataclass(frozen=True, slots=True)
class Circumstance:
    """What an error must name to be of use. `secret` is kept out of every text."""

    region: str
    key_setting: str
    moment: Moment
    model_id: str | None = None
    secret: SecretStr | None = None

    def during(self, moment: Moment) -> "Circumstance":
        """Give the same at another moment."""
        return Circumstance(self.region, self.key_setting, moment, self.model_id, self.secret)

    @property
    def hidden(self) -> str:
        """What must be kept out of every text."""
        secret = self.secret.get_secret_value() if self.secret else ""
        return secret if len(secret) >= _SHORTEST_SECRET else ""


_TROUBLE_ADVICE = {
    Moment.ORDER: "An order may have come of it: look for the task before ordering again.",
    Moment.ASK: "Try again in a moment.",
    Moment.TASK: "Order again; if that fails too, wait some minutes or choose another model.",
}
_NOTHING_ORDERED = "Nothing was ordered."
_NOT_CHARGED = "Nothing is charged for it."
"""Source: https://help.aliyun.com/zh/model-studio/text-to-image-v2-api-reference"""


def refuse(
    where: Circumstance,
    code: str | None,
    message: str | None,
    *,
    status: int,
    request_id: str | None = None,
    retry_after: float | None = None,
) -> ServiceError:
    """
    Turn a refusal into our error for it.

    `code` and `message` are the service's, `status` is that of the answer (200 inside a task), `retry_after` what
    it asked to wait, in seconds and not yet capped.
    """
    code = code.strip() if code and is_known(code) else clean_code(code, secret=where.hidden)
    refusal = _find(code, message or "", status)
    kind, advice = refusal.kind, refusal.advice
    if kind is ThrottledError and retry_after is not None and retry_after > HOPELESS_RETRY_AFTER:
        refusal, kind = QUOTA, QUOTA.kind
        advice = QUOTA.advice
    if kind is QuotaError and retry_after is not None and retry_after > HOPELESS_RETRY_AFTER:
        advice = f"{advice} The service names {_span(retry_after)} until the quota returns."
    if kind is ServiceDownError:
        advice = f"{advice} {_TROUBLE_ADVICE[where.moment]}".strip()
    if where.moment is Moment.TASK:
        advice = f"{_NOT_CHARGED} {advice}"
    elif where.moment is Moment.ORDER and kind.nothing_created:
        advice = f"{_NOTHING_ORDERED} {advice}"
    error = kind(
        _fill(_with_quote(refusal, message, where), where),
        _fill(advice.strip(), where),
        code=code,
        http_status=status,
        request_id=clean_request_id(request_id, secret=where.hidden),
        retry_after=None if retry_after is None else min(retry_after, LONGEST_RETRY_AFTER),
    )
    if where.moment is Moment.TASK:
        error.nothing_created = False
    return error


def _find(code: str | None, message: str, status: int) -> Refusal:
    if status >= _SERVER_TROUBLE:
        known = _by_code(code)
        return known if known is not None and known.kind is ServiceDownError else TROUBLE
    known = _by_code(code)
    if known is None:
        # Without a code the status is all there is; a code we do not know is quoted with its sentence.
        by_status = BY_STATUS.get(status, UNKNOWN)
        if code is None:
            return by_status
        return Refusal(by_status.kind, f'The service refused with the code "{code}".', by_status.advice, quotes=True)
    return _by_message(known, message.lower())


def _by_code(code: str | None) -> Refusal | None:
    """Find the meaning of a code, or of the family that its dotted name puts it in."""
    parts = code.split(".") if code else []
    while parts:
        known = BY_CODE.get(normalize("".join(parts)))
        if known is not None:
            return known
        parts.pop()
    return None


def _by_message(known: Refusal, message: str) -> Refusal:
    """Tell apart what the service puts under one code. Its sentences change, so only a few words are looked for."""
    if known.kind is ContentRefusedError and "output data" in message and "input" not in message:
        return PICTURE_INSPECTION
    if known is BY_CODE["accessdenied"] and "synchronous calls" in message:
        return PAIRING
    if known is BY_CODE["invalidparameter"]:
        if "model not exist" in message:
            return MODEL
        if "url error" in message:
            return WRONG_ENDPOINT
    return known


def _with_quote(refusal: Refusal, message: str | None, where: Circumstance) -> str:
    said = clean(message, secret=where.hidden) if refusal.quotes else ""
    # Braces of the service must not be taken for places to fill.
    said = said.replace("{", "{{").replace("}", "}}")
    return f'{refusal.message} The service says: "{said}"' if said else refusal.message


def _fill(text: str, where: Circumstance) -> str:
    return text.format(region=where.region, model=where.model_id or "the model", setting=where.key_setting)


def _span(seconds: float) -> str:
    days = round(seconds / _DAY)
    return f"about {days} days" if days > 1 else f"about {max(1, round(seconds / 3600))} hours"
