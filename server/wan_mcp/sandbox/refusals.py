"""
The refusals of the service, as it words them.

Source: https://help.aliyun.com/zh/model-studio/error-code
"""

from typing import NamedTuple


class Trouble(NamedTuple):
    """A code and a message of the service, as they stand in an answer."""

    code: str
    message: str


class RefusalError(Exception):
    """Raised when a call is refused at once: the HTTP status, and what the body says."""

    def __init__(self, status: int, trouble: Trouble) -> None:
        super().__init__(f"{status} {trouble.code}: {trouble.message}")
        self.status = status
        self.trouble = trouble


def _refuse(status: int, code: str, message: str) -> RefusalError:
    return RefusalError(status, Trouble(code, message))


def no_key() -> RefusalError:
    """Refuse a call that carries no key."""
    return _refuse(401, "InvalidApiKey", "No API-key provided.")


def wrong_key() -> RefusalError:
    """Refuse a key that is wrong here, or of another region: the service does not tell them apart."""
    return _refuse(401, "InvalidApiKey", "Invalid API-key provided.")


def only_async() -> RefusalError:
    """Refuse a call without the asynchronous header where it is needed."""
    return _refuse(403, "AccessDenied", "current user api does not support synchronous calls.")


def only_sync() -> RefusalError:
    """Refuse a call with the asynchronous header where there is no asynchronous protocol."""
    return _refuse(403, "AccessDenied", "current user api does not support asynchronous calls.")


def unreadable_body() -> RefusalError:
    """Refuse a body that is no JSON object."""
    return _refuse(400, "InvalidParameter", "Required body invalid, please check the request body format.")


def too_large_body() -> RefusalError:
    """Refuse a body that is larger than any text order can be."""
    return _refuse(400, "BadRequest.TooLarge", "Payload Too Large")


def no_model() -> RefusalError:
    """Refuse a body that names no model."""
    return _refuse(400, "BadRequest.EmptyModel", 'Required parameter "model" missing from request.')


def no_input() -> RefusalError:
    """Refuse a synchronous order without any input."""
    return _refuse(400, "BadRequest.EmptyInput", "Required input parameter missing from request.")


def unknown_model() -> RefusalError:
    """Refuse a model that does not exist, or not in this region."""
    return _refuse(400, "InvalidParameter", "Model not exist.")


def wrong_path() -> RefusalError:
    """Refuse a model on the path of another protocol. The exclamation mark is full-width, as the service's is."""
    return _refuse(
        400,
        "InvalidParameter",
        "url error, please check url！ For details, see: "  # noqa: RUF001 - the service's own words
        "https://help.aliyun.com/zh/model-studio/error-code#error-url",
    )


def no_such_call() -> RefusalError:
    """Refuse a path that is none of the service's."""
    return _refuse(404, "NotFound", "The requested resource could not be found.")


def wrong_method(method: str) -> RefusalError:
    """Refuse an HTTP method."""
    return _refuse(405, "InvalidParameter", f"Request method '{method}' is not supported.")


def wrong_parameter(message: str) -> RefusalError:
    """Refuse a synchronous order, or a list, for what it asks."""
    return _refuse(400, "InvalidParameter", message)


def too_fast() -> RefusalError:
    """Refuse a call over the rate limit."""
    return _refuse(429, "Throttling.RateQuota", "Requests rate limit exceeded, please try again later.")


def too_late_to_cancel() -> RefusalError:
    """Refuse to cancel a task that is not PENDING."""
    return _refuse(
        400,
        "UnsupportedOperation",
        "Failed to cancel the task, please confirm if the task is in PENDING status.",
    )


def own_fault() -> RefusalError:
    """Say that the sandbox itself could not do it: its journal cannot be read or written."""
    return _refuse(500, "InternalError", "An internal error has occured, please try again later.")


INSPECTED = Trouble("DataInspectionFailed", "Input data may contain inappropriate content.")
OUTPUT_INSPECTED = Trouble("DataInspectionFailed", "Output data may contain inappropriate content.")
INFRINGING = Trouble("IPInfringementSuspect", "Input data is suspected of being involved in IP infringement.")
TIMED_OUT = Trouble(
    "InternalError.Timeout",
    "An internal timeout error has occured during execution, please try again later or contact service support.",
)
