"""
What the service's codes mean, in our words.

`{region}`, `{model}` and `{setting}` stand for the region's name, the model's id and the variable that holds the key.
Codes are compared in lower case without punctuation, because the service spells one code in several ways.
Source: https://help.aliyun.com/zh/model-studio/error-code
"""

import re
from collections.abc import Mapping

from wan_mcp_tools.domain.errors import (
    AccessDeniedError,
    BillingError,
    ContentRefusedError,
    KeyRefusedError,
    ModelNotFoundError,
    NotCancelableError,
    ParameterRefusedError,
    QuotaError,
    ServiceDownError,
    ServiceError,
    ThrottledError,
)
from wan_mcp_tools.domain.record import Record


class ErrorMeaning(Record):
    """
    One meaning: the class that is raised, what happened, and what to do.

    `is_quoted` adds the service's own sentence, where the code alone does not say what is wrong.
    """

    error_class: type[ServiceError]
    message: str
    advice: str
    is_quoted: bool = False


def normalize(code: str) -> str:
    """Bring the spellings of one code together: `InvalidApiKey` and `invalid_api_key` are the same."""
    return "".join(sign for sign in code.lower() if sign not in "._- ")


_KEY = ErrorMeaning(
    KeyRefusedError,
    "The key in {setting} is refused in the region {region}: it is a wrong key, or a key of another region.",
    "A key works in one region only. Put a key of {region} into {setting}, or choose the region that the key is of.",
)
_WORKSPACE_KEY = ErrorMeaning(
    KeyRefusedError,
    "The key in {setting} is refused in the region {region}: it does not belong to the workspace that was addressed.",
    "Use a key of that workspace, or correct DASHSCOPE_WORKSPACE_ID.",
)
_ACCESS = ErrorMeaning(
    AccessDeniedError,
    "The key in {setting} may not use {model} in the region {region}.",
    "Allow it in the Model Studio console of that region, or choose another model.",
)
_WORKSPACE = ErrorMeaning(
    AccessDeniedError,
    "The key in {setting} has no access to the workspace that was addressed in the region {region}.",
    "Correct DASHSCOPE_WORKSPACE_ID, or use a key of that workspace.",
)
_UNPURCHASED = ErrorMeaning(
    AccessDeniedError,
    "The account has not activated Model Studio in the region {region}.",
    "Activate it in the Model Studio console, then order again.",
)
_QUOTA = ErrorMeaning(
    QuotaError,
    "The quota of {model} is used up for this account in the region {region}.",
    "Raise the quota in the Model Studio console, or choose another model. Trying again soon does not help.",
)
_FREE_TIER = ErrorMeaning(
    QuotaError,
    "The free quota of {model} is used up, and the account is set to use nothing but free quota.",
    'Switch off "free tier only" in the console of {region} to go on for money, or choose another model.',
)
_ARREARS = ErrorMeaning(
    BillingError,
    "The account is in arrears, and the service refuses it.",
    "Stop ordering until the account's bill is paid.",
)
_PURCHASE = ErrorMeaning(
    BillingError,
    "The account has not bought what {model} needs in the region {region}.",
    "Buy or activate it in the Model Studio console; until then orders are refused.",
)
_INSPECTION = ErrorMeaning(
    ContentRefusedError,
    "The service's content inspection refused the words of the order, or a picture in it.",
    "Rephrase the prompt. The same words, or the same picture, will be refused again.",
)
PICTURE_INSPECTION = ErrorMeaning(
    ContentRefusedError,
    "The service's content inspection refused the finished picture.",
    "Rephrase the prompt, or order again with another seed.",
)
_PROPERTY = ErrorMeaning(
    ContentRefusedError,
    "The service suspects that the order touches somebody's rights (a brand, a character, a work).",
    "The suspicion may come from the rewritten prompt: order again with prompt_extend=false, or rephrase.",
)
_OWN_RULES = ErrorMeaning(
    ContentRefusedError,
    "A content rule that the account itself has set refused the words of the order.",
    "Rephrase the prompt, or change the rule in the Model Studio console.",
)
MODEL = ErrorMeaning(
    ModelNotFoundError,
    "The region {region} does not offer {model} to the key in {setting}.",
    "The model does not exist there, or the key has no access to it: choose another model or another region.",
)
_NOWHERE = ErrorMeaning(
    ServiceError,
    "The region {region} knows nothing at the address that was called.",
    "If DASHSCOPE_HTTP_BASE_URL is set, check it: it must end in /api/v1.",
)
PAIRING = ErrorMeaning(
    AccessDeniedError,
    "The region {region} does not take orders for {model} by this protocol.",
    "Switch WAN_MCP_PROTOCOL between async and sync, or choose another model or region.",
)
WRONG_ENDPOINT = ErrorMeaning(
    ParameterRefusedError,
    "The region {region} does not take {model} at this address: model and protocol do not fit together.",
    "Choose another model; for one of WAN_MCP_EXTRA_MODELS correct its protocol.",
)
_PARAMETER = ErrorMeaning(
    ParameterRefusedError,
    "The service refused a parameter of the order.",
    "Correct it and order again.",
    is_quoted=True,
)
_BODY = ErrorMeaning(
    ParameterRefusedError,
    "The service could not use the order as it was sent.",
    "Shorten or simplify the order and try again.",
    is_quoted=True,
)
INPUT_ADDRESS = ErrorMeaning(
    ParameterRefusedError,
    "The service could not fetch an input picture from where the order says that it is.",
    "Name a file in its place, or an address that everybody can open, and order again.",
)
INPUT_PICTURE = ErrorMeaning(
    ParameterRefusedError,
    "The service cannot use an input picture: its width or height is outside of what {model} takes.",
    "Give a picture of another size.",
    is_quoted=True,
)
_RUSH = ErrorMeaning(
    ThrottledError,
    "The account sends requests to the region {region} faster than the service allows.",
    "Wait a little and try again.",
)
_NOT_PENDING = ErrorMeaning(
    NotCancelableError,
    "The task is no longer waiting, so it cannot be cancelled.",
    "Ask for its state; a task that runs will end and be collected.",
)
_TROUBLE = ErrorMeaning(ServiceDownError, "The service in the region {region} had trouble of its own.", "")
_TOO_SLOW = ErrorMeaning(ServiceDownError, "The service in the region {region} ran out of time.", "")
_CAPACITY = ErrorMeaning(
    ServiceDownError, "There is no capacity left for {model} in the region {region} just now.", ""
)
_REWRITE = ErrorMeaning(
    ServiceDownError,
    "The service failed to rewrite the prompt.",
    "With prompt_extend=false it is not rewritten.",
)

_MEANINGS: tuple[tuple[ErrorMeaning, tuple[str, ...]], ...] = (
    (_KEY, ("InvalidApiKey", "IncorrectApiKey", "Unauthorized", "authentication_error")),
    (_WORKSPACE_KEY, ("NotAuthorized",)),
    (_ACCESS, ("AccessDenied", "Model.AccessDenied", "App.AccessDenied", "permission_denied")),
    (_WORKSPACE, ("Workspace.AccessDenied", "Endpoint.AccessDenied", "WorkSpaceNotFound")),
    (_UNPURCHASED, ("AccessDenied.Unpurchased",)),
    (_QUOTA, ("Throttling.AllocationQuota", "insufficient_quota", "AllocationQuota")),
    (_FREE_TIER, ("AllocationQuota.FreeTierOnly",)),
    (_ARREARS, ("Arrearage", "PrepaidBillOverdue", "PostpaidBillOverdue")),
    (_PURCHASE, ("CommodityNotPurchased",)),
    (_INSPECTION, ("DataInspectionFailed", "InvalidParameter.DataInspection", "DataInspection")),
    (_PROPERTY, ("IPInfringementSuspect",)),
    (_OWN_RULES, ("FaqRuleBlocked", "CustomRoleBlocked")),
    (MODEL, ("ModelNotFound", "model_not_supported", "ModelNotExist")),
    (_NOWHERE, ("NotFound",)),
    (_PARAMETER, ("InvalidParameter", "invalid_parameter_error", "invalid_request_error", "InvalidSize")),
    (
        _BODY,
        (
            "BadRequest",
            "BadRequest.EmptyInput",
            "BadRequest.EmptyModel",
            "BadRequest.EmptyParameters",
            "BadRequest.IllegalInput",
            "BadRequest.TooLarge",
        ),
    ),
    (
        INPUT_ADDRESS,
        ("InvalidURL", "InvalidURL.ConnectionRefused", "InvalidURL.Timeout", "BadRequest.InputDownloadFailed"),
    ),
    (
        _RUSH,
        (
            "Throttling",
            "Throttling.RateQuota",
            "Throttling.BurstRate",
            "Throttling.Concurrency",
            "LimitRequests",
            "limit_burst_rate",
            "rate_limit_exceeded",
            "TooManyRequests",
        ),
    ),
    (_NOT_PENDING, ("UnsupportedOperation",)),
    (
        _TROUBLE,
        (
            "InternalError",
            "InternalError.Algo",
            "InternalError.Upload",
            "InternalError.FileUpload",
            "internal_server_error",
            "SystemError",
            "ModelServiceFailed",
        ),
    ),
    (_TOO_SLOW, ("InternalError.Timeout", "RequestTimeOut", "ResponseTimeout")),
    (_CAPACITY, ("ModelServingError", "ModelUnavailable", "ServiceUnavailable")),
    (_REWRITE, ("RewriteFailed",)),
)

BY_CODE: Mapping[str, ErrorMeaning] = {normalize(code): meaning for meaning, codes in _MEANINGS for code in codes}

_LONGEST_CODE = 64
_MOST_PARTS = 8
_BETWEEN_PARTS = re.compile(r"[.:/<>\[\]()]+")


def is_known(code: str) -> bool:
    """Say whether a code is one of the table's, in any of its spellings."""
    return len(code) <= _LONGEST_CODE and normalize(code.strip()) in BY_CODE


def find_by_code(code: str | None) -> ErrorMeaning | None:
    """
    Find the meaning of a code: that of its last part that is known, alone or with what stands before it.

    `InternalError.Algo.InvalidParameter` means what `InvalidParameter` does, `Throttling.New` what `Throttling` does.
    """
    parts = [part for part in _BETWEEN_PARTS.split(code or "") if part.strip()][-_MOST_PARTS:]
    for end in range(len(parts), 0, -1):
        for start in range(end):
            known = BY_CODE.get(normalize("".join(parts[start:end])))
            if known is not None:
                return known
    return None


UNKNOWN = ErrorMeaning(
    ServiceError,
    "The service refused and named no reason.",
    "Rephrase or simplify the order, or choose another model.",
    is_quoted=True,
)
TROUBLE = _TROUBLE
TOO_SLOW = _TOO_SLOW
QUOTA = _QUOTA
GENERAL = (_PARAMETER, _BODY, _TROUBLE, _NOWHERE)
"""What says little: the message of such a code may begin with one that says more."""

BY_STATUS: Mapping[int, ErrorMeaning] = {
    400: _BODY,
    401: _KEY,
    402: _ARREARS,
    403: _ACCESS,
    404: _NOWHERE,
    413: _BODY,
    415: _BODY,
    422: _BODY,
    429: _RUSH,
}
