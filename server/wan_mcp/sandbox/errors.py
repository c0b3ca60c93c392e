"""
The errors of the service, as it words them.

Source: https://help.aliyun.com/zh/model-studio/error-code
"""

from typing import NamedTuple


class ErrorReply(NamedTuple):
    """
    An error as it stands in an answer: a code and a message of the service.

    `status` is the HTTP status of a call that is refused with it; in the answer to a task query it has none.
    """

    status: int
    code: str
    message: str


class RefusalError(Exception):
    """Raised when a call is refused at once."""

    def __init__(self, error: ErrorReply) -> None:
        super().__init__(f"{error.status} {error.code}: {error.message}")
        self.error = error


NO_KEY = ErrorReply(401, "InvalidApiKey", "No API-key provided.")
WRONG_KEY = ErrorReply(401, "InvalidApiKey", "Invalid API-key provided.")
"""The key is wrong here, or of another region: the service does not tell them apart."""

ONLY_ASYNC = ErrorReply(403, "AccessDenied", "current user api does not support synchronous calls.")
"""The asynchronous header is missing where it is needed."""
ONLY_SYNC = ErrorReply(403, "AccessDenied", "current user api does not support asynchronous calls.")
"""The asynchronous header stands where there is no asynchronous protocol."""
WRONG_PATH = ErrorReply(
    400,
    "InvalidParameter",
    # The exclamation mark is full-width, as the service's is.
    "url error, please check url！ For details, see: "  # noqa: RUF001 - the service's own words
    "https://help.aliyun.com/zh/model-studio/error-code#error-url",
)
"""The model is not served on this path but on that of another protocol."""
UNKNOWN_PATH = ErrorReply(404, "NotFound", "The requested resource could not be found.")

UNREADABLE_BODY = ErrorReply(400, "InvalidParameter", "Required body invalid, please check the request body format.")
TOO_LARGE_BODY = ErrorReply(400, "BadRequest.TooLarge", "Payload Too Large")
NO_MODEL = ErrorReply(400, "BadRequest.EmptyModel", 'Required parameter "model" missing from request.')
UNKNOWN_MODEL = ErrorReply(400, "InvalidParameter", "Model not exist.")
"""There is no such model, or not in this region."""
NO_INPUT = ErrorReply(400, "BadRequest.EmptyInput", "Required input parameter missing from request.")

RATE_LIMITED = ErrorReply(429, "Throttling.RateQuota", "Requests rate limit exceeded, please try again later.")
NOT_PENDING = ErrorReply(
    400,
    "UnsupportedOperation",
    "Failed to cancel the task, please confirm if the task is in PENDING status.",
)
INTERNAL_ERROR = ErrorReply(500, "InternalError", "An internal error has occured, please try again later.")
"""The sandbox itself could not do it: its tasks cannot be read or written."""

INVALID_URL = ErrorReply(400, "InvalidURL", "The request URL is invalid, please check the request URL is available.")
"""An input picture is given by what is no address."""
NOT_DOWNLOADED = ErrorReply(400, "InvalidParameter.DataInspection", "Failed to download multimodal content")
"""The service cannot reach an input picture, or must not."""
NO_UPLOADS = ErrorReply(403, "AccessDenied", "Access denied: the key of a plan has no temporary uploads.")

INPUT_INSPECTED = ErrorReply(400, "DataInspectionFailed", "Input data may contain inappropriate content.")
OUTPUT_INSPECTED = ErrorReply(400, "DataInspectionFailed", "Output data may contain inappropriate content.")
INFRINGING = ErrorReply(400, "IPInfringementSuspect", "Input data is suspected of being involved in IP infringement.")
TIMED_OUT = ErrorReply(
    500,
    "InternalError.Timeout",
    "An internal timeout error has occured during execution, please try again later or contact service support.",
)


def invalid_parameter(message: str) -> ErrorReply:
    """Say what is wrong with a parameter of an order or of the task list."""
    return ErrorReply(400, "InvalidParameter", message)


def wrong_method(method: str) -> ErrorReply:
    """Say that a path does not take an HTTP method."""
    return ErrorReply(405, "InvalidParameter", f"Request method '{method}' is not supported.")
