"""From what the service answered, or did not answer, to one of our errors in our own words."""

import re
from dataclasses import replace
from enum import Enum, auto
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from wan_mcp.dashscope.error_table import (
    BY_CODE,
    BY_STATUS,
    GENERAL,
    INPUT_ADDRESS,
    INPUT_PICTURE,
    MODEL,
    PAIRING,
    PICTURE_INSPECTION,
    QUOTA,
    TOO_SLOW,
    TROUBLE,
    UNKNOWN,
    WRONG_ENDPOINT,
    ErrorMeaning,
    find_by_code,
    is_known,
)
from wan_mcp_tools.domain.errors import (
    AnswerLostError,
    ContentRefusedError,
    ErrorCode,
    InterceptedError,
    QuotaError,
    ServiceDownError,
    ServiceError,
    ThrottledError,
)
from wan_mcp_tools.domain.record import Record
from wan_mcp_tools.domain.tasks import Problem
from wan_mcp_tools.domain.text import leave_out_links, one_line

if TYPE_CHECKING:
    from wan_mcp.dashscope.requests import Endpoint

LONGEST_RETRY_AFTER = 300.0
"""A longer wait that the service asks for is cut to this."""
QUOTA_RETRY_AFTER = 3600.0
"""A service that asks for more than this speaks of a quota, not of a rate."""

_LONGEST_QUOTE = 200
_REFUSED = range(400, 500)
_SERVER_ERROR = 500
_PROXY_SIGN_IN, _RUSH = 407, 429
_DAY = 86400
_REDIRECTED = range(300, 400)
_NOTHING_ORDERED = "Nothing was ordered."
_NOT_CHARGED = "Nothing is charged for it."
"""Source: https://help.aliyun.com/zh/model-studio/text-to-image-v2-api-reference"""
_PROBABLY_NOT_ORDERED = (
    "The order has most likely not reached the service; the account's list of tasks shows whether anything was"
    " ordered."
)
_PROXY_SIGN_IN_ADVICE = "Write them into the address of the proxy (HTTPS_PROXY): http://USER:PASSWORD@HOST:PORT."
_CHARGED = "The service counts an image of it as made, and may charge it: look for the task in the account's list."
_LOOK_FIRST = "The order may have been taken: look for the task before ordering again."

_HEAD = re.compile(
    r"\W*(?P<status>[0-9]{3}\W+)?(?P<code>[A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*)(?P<end>\s*[:\uff1a]|\s|$)"
)
"""How a message begins that repeats a code: `<400> InternalError.Algo.DataInspectionFailed: Input data may …`."""
_SECRET_KEY = re.compile(r"\b(?:sk|st)-")
_QUOTE_MARKS = re.compile(r"[\"\u201c-\u201f\u00ab\u00bb\u300c-\u300f\uff02]")
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,80}")
_MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class CallKind(Enum):
    """What was called for: it decides what a caller can do about trouble of the service's own."""

    ORDER = auto()
    """After trouble it is not known whether a task came of it."""
    QUESTION = auto()
    """It can be asked again."""


_ADVICE_AFTER_TROUBLE = {
    CallKind.ORDER: "An order may have come of it: look for the task before ordering again.",
    CallKind.QUESTION: "Try again in a moment.",
}
_ADVICE_AFTER_FAILED_TASK = "Order again; if that fails too, wait some minutes or choose another model."


class CallContext(Record):
    """What an error must name to be of use."""

    endpoint: "Endpoint"
    kind: CallKind
    model_id: str | None = None

    @property
    def region(self) -> str:
        """The name of the region."""
        return self.endpoint.region

    @property
    def host(self) -> str:
        """The host that was called, with its port if that is not the usual one."""
        return urlsplit(self.endpoint.base_url).netloc


def make_service_error(
    context: CallContext,
    code: str | None,
    message: str | None,
    *,
    status: int,
    request_id: str | None = None,
    retry_after: float | None = None,
) -> ServiceError:
    """
    Turn the refusal of a call into our error for it.

    `code` and `message` are the service's, `status` is that of the answer, `retry_after` what it asked to wait, in
    seconds and not yet capped.
    """
    meaning = _find_meaning(code, message or "", status)
    if meaning.error_class is ThrottledError and (retry_after or 0) > QUOTA_RETRY_AFTER:
        meaning = QUOTA
    error_class, advice = meaning.error_class, meaning.advice
    # The service has looked at the call and turned it down, even if it names trouble of its own as the reason.
    nothing_created = error_class.nothing_created or status in _REFUSED
    if error_class is QuotaError and retry_after is not None and retry_after > QUOTA_RETRY_AFTER:
        advice = f"{advice} The service names {_round_span(retry_after)} until the quota returns."
    if context.kind is CallKind.QUESTION or not nothing_created:
        advice = f"{advice} {_ADVICE_AFTER_TROUBLE[context.kind] if error_class is ServiceDownError else ''}".strip()
    else:
        after = _ADVICE_AFTER_FAILED_TASK if error_class is ServiceDownError else ""
        advice = " ".join(part for part in (_NOTHING_ORDERED, advice, after) if part)
    return error_class(
        _fill(_add_quote(meaning, message), context),
        _fill(advice, context),
        code=_clean_service_code(code),
        http_status=status,
        request_id=clean_request_id(request_id),
        retry_after=None if retry_after is None else min(retry_after, LONGEST_RETRY_AFTER),
        nothing_created=nothing_created,
    )


def make_intercepted_error(
    context: CallContext, *, status: int, proxy: str | None, retry_after: float | None = None
) -> ServiceError:
    """
    Give the error for a refusal that somebody else than the service has written, such as a proxy or a firewall.

    `proxy` is the one that the call went through, as it may be shown; None if it went directly.
    """
    is_order, host = context.kind is CallKind.ORDER, context.host
    unknown = "a proxy of this network" if status == _PROXY_SIGN_IN else "a firewall or a gateway of this network"
    who = f"the proxy {proxy}" if proxy else unknown
    message = (
        f"The answer for the region {context.region} (HTTP {status}) is none of the service's:"
        f" most likely {who} refused the call to {host}."
    )
    if status == _PROXY_SIGN_IN:
        advice = f"It asks for a user name and a password. {_PROXY_SIGN_IN_ADVICE}"
    elif proxy:
        advice = f"Let the proxy pass {host}, or list {host} in NO_PROXY if it can be reached without it."
    else:
        advice = (
            f"Ask whoever runs the network to let {host} pass. No proxy is in use (HTTPS_PROXY names one, NO_PROXY"
            " the hosts that are reached without it). If DASHSCOPE_HTTP_BASE_URL is set, check it."
        )
    advice = f"{advice} {_PROBABLY_NOT_ORDERED}" if is_order else advice
    error_class = ThrottledError if status == _RUSH else InterceptedError
    return error_class(
        message,
        advice,
        code=ErrorCode.INTERCEPTED,
        http_status=status,
        retry_after=None if retry_after is None else min(retry_after, LONGEST_RETRY_AFTER),
        # A question can be asked again; an order is repeated by whoever has looked what came of it.
        retryable=not is_order or status == _RUSH,
    )


def describe_task_failure(
    context: CallContext, code: str | None, message: str | None, *, status: int = 200, is_charged: bool = False
) -> Problem:
    """
    Say why a task that exists failed, or one image of it; such images are not billed.

    `code` and `message` are the service's, `status` is that of the answer. `is_charged` says that the service bills
    an image all the same.
    """
    meaning = _find_meaning(code, message or "", status)
    charge = _CHARGED if is_charged else _NOT_CHARGED
    sentences = [_add_quote(meaning, message), charge, meaning.advice]
    if meaning.error_class is ServiceDownError:
        sentences.append(_ADVICE_AFTER_FAILED_TASK)
    text = " ".join(sentence for sentence in sentences if sentence)
    return Problem(_clean_service_code(code) or meaning.error_class.default_code, _fill(text, context))


def is_time_out(code: str | None) -> bool:
    """Tell whether a code means that the service ran out of time: what it did until then is not known."""
    return find_by_code(code) is TOO_SLOW


def make_unreadable_error(context: CallContext, status: int, request_id: str | None) -> ServiceDownError:
    """Give the error for an answer that is not the service's own, or lacks what it must have."""
    if status in _REDIRECTED:
        message = f"The region {context.region} sent the call elsewhere; the key does not follow it."
    else:
        message = f"The answer of the region {context.region} is not one of the service's (HTTP {status})."
    check = "If this goes on, look for a proxy or a sign-in page in the network, and check DASHSCOPE_HTTP_BASE_URL."
    return ServiceDownError(
        message,
        f"{_LOOK_FIRST} {check}" if context.kind is CallKind.ORDER else check,
        code=ErrorCode.UNREADABLE_ANSWER,
        http_status=status,
        request_id=clean_request_id(request_id),
    )


def make_lost_error(context: CallContext, reason: str) -> AnswerLostError:
    """Give the error for a call that was sent and not answered."""
    is_order = context.kind is CallKind.ORDER
    return AnswerLostError(
        f"{'The order' if is_order else 'The call'} was sent to the region {context.region}"
        f" and its answer was lost: {reason}.",
        _LOOK_FIRST if is_order else "Try again in a moment.",
    )


def _clean_service_code(code: str | None) -> str | None:
    """Give a code as it came if the table knows it; others must look like one."""
    return code.strip() if code and is_known(code) else clean_code(code)


def redact_quote(text: str | None) -> str:
    """
    Give at most 200 characters of what the service wrote, on one line and harmless.

    It may hold links, keys, control characters, and words that give orders.
    """
    if not text:
        return ""
    # Inside our quote marks there are none, so that nothing can pretend to stand outside of them.
    return one_line(_QUOTE_MARKS.sub("'", leave_out_links(text)), _LONGEST_QUOTE)


def clean_code(code: str | None) -> str | None:
    """Give a code that looks like one; None for anything else."""
    return _clean_word(code.strip() if code else None, _CODE)


def clean_request_id(value: str | None) -> str | None:
    """Give a request id that looks like one; None for anything else."""
    return _clean_word(value, _REQUEST_ID)


def clean_model_id(value: str | None) -> str | None:
    """Give a model's id that looks like one; None for anything else."""
    return _clean_word(value, _MODEL_ID)


def _clean_word(value: str | None, form: re.Pattern[str]) -> str | None:
    if not value or not form.fullmatch(value):
        return None
    return None if _SECRET_KEY.search(value) else value


def _find_meaning(code: str | None, message: str, status: int) -> ErrorMeaning:
    """Find what a code means, or the one that its message begins with where that says more."""
    known = find_by_code(code)
    if known is None or known in GENERAL:
        known = _find_by_message(message) or known
    if status >= _SERVER_ERROR:
        return known if known is not None and known.error_class is ServiceDownError else TROUBLE
    if known is None:
        # Without a code the status is all there is; a code we do not know is quoted with its sentence.
        by_status = BY_STATUS.get(status, UNKNOWN)
        shown = _clean_service_code(code)
        if shown is None:
            return by_status
        return replace(by_status, message=f'The service refused with the code "{shown}".', is_quoted=True)
    return _refine_by_message(known, message.lower())


def _find_by_message(message: str) -> ErrorMeaning | None:
    """Find the meaning of the code that a message begins with, if it is one beyond doubt."""
    head = _HEAD.match(message)
    if head is None:
        return None
    is_certain = head["status"] or "." in head["code"] or head["end"].strip()
    return find_by_code(head["code"]) if is_certain else None


def _refine_by_message(known: ErrorMeaning, message: str) -> ErrorMeaning:
    """Tell apart what the service puts under one code. Its sentences change, so only a few words are looked for."""
    if known.error_class is ContentRefusedError and "output data" in message and "input" not in message:
        return PICTURE_INSPECTION
    if known is BY_CODE["accessdenied"] and "synchronous calls" in message:
        return PAIRING
    if "download" in message and (known.error_class is ContentRefusedError or known in GENERAL):
        return INPUT_ADDRESS
    if known is BY_CODE["invalidparameter"]:
        if "image length and width" in message:
            return INPUT_PICTURE
        if "model not exist" in message:
            return MODEL
        if "url error" in message:
            return WRONG_ENDPOINT
    return known


def _add_quote(meaning: ErrorMeaning, message: str | None) -> str:
    said = redact_quote(message) if meaning.is_quoted else ""
    # Braces of the service must not be taken for places to fill.
    said = said.replace("{", "{{").replace("}", "}}")
    return f'{meaning.message} The service says: "{said}"' if said else meaning.message


def _fill(text: str, context: CallContext) -> str:
    setting = context.endpoint.key_setting
    return text.format(region=context.region, model=context.model_id or "the model", setting=setting)


def _round_span(seconds: float) -> str:
    days = round(seconds / _DAY)
    return f"about {days} days" if days > 1 else f"about {max(1, round(seconds / 3600))} hours"
