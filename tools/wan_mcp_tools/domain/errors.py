"""
What can go wrong, by who can act on it.

    AppError
    ├── RequestRefusedError        the arguments: the caller corrects them; nothing was sent
    │   ├── FolderNotAllowedError      a path outside the allowed folders
    │   ├── InputChangedError          a picture that is to be sent is no longer the one that was ordered with
    │   └── LimitError                 a limit of the operator's own is reached
    │       ├── DailyLimitError            of images in 24 hours
    │       ├── CostLimitError             of indicative costs in 24 hours or 30 days
    │       ├── OpenLimitError             of orders that go on at once
    │       └── CallLimitError             of calls in a minute, or of uploads in 24 hours
    ├── SettingsError              the settings: the operator corrects them; nothing was sent
    │   └── MissingKeyError            no key for the region
    ├── ServiceError               the service answered with a refusal or a failure
    │   ├── KeyRefusedError            401: wrong key, or a key of another region
    │   ├── AccessDeniedError          403: not activated, no permission, wrong protocol for the model
    │   ├── QuotaError                 free tier, quota or plan used up
    │   ├── BillingError               account in arrears, nothing purchased
    │   ├── ContentRefusedError        inspection of the prompt or the picture
    │   ├── ModelNotFoundError         no such model for this key in this region
    │   ├── ParameterRefusedError      the service refused an argument
    │   ├── ThrottledError             too many requests: waiting helps
    │   ├── NotCancelableError         the task is no longer PENDING
    │   ├── InterceptedError           a proxy or a firewall refused in the service's place
    │   └── ServiceDownError           5xx: the service's own trouble
    ├── UploadError                a picture that is to be sent could not be handed to the service
    ├── NotConnectedError          no connection was opened: nothing was sent
    ├── AnswerLostError            sent, and no readable answer came back
    ├── NotFoundError              no such task or image
    ├── DownloadError              an image that exists could not be fetched
    │   ├── LinkExpiredError           the 24 hours are over
    │   ├── HostNotAllowedError        the address is outside the allowed image hosts
    │   ├── TooLargeError              more bytes than the limit
    │   └── NotAnImageError            the bytes are no complete picture
    ├── StorageError               the disk: folder missing, read-only, full
    └── LedgerError                the ledger cannot be used: locked, damaged, newer than this release

Every error carries facts beside its sentence: its code, whether trying again can help, whether it is certain that no
order came of it, and what to do next. The sentence is made where it is raised; for refusals of the service that is by
their codes, in `wan_mcp.dashscope.error_table`.
"""

from enum import StrEnum
from typing import ClassVar

from wan_mcp_tools.domain.next_step import NextStep
from wan_mcp_tools.domain.text import well_formed


class ErrorCode(StrEnum):
    """
    The codes of our own, of errors and of the problems of tasks and images.

    They are part of the product: programs compare them, and the ledger keeps them. Where the service gave a code,
    that one stands in its place as plain text, so a `code` is any `str`.
    """

    # Of classes of errors, see there.
    ERROR = "Error"
    INVALID_REQUEST = "InvalidRequest"
    FOLDER_NOT_ALLOWED = "FolderNotAllowed"
    DAILY_IMAGE_LIMIT = "DailyImageLimit"
    COST_LIMIT = "CostLimit"
    OPEN_ORDER_LIMIT = "OpenOrderLimit"
    CALL_LIMIT = "CallLimit"
    SETTINGS = "Settings"
    MISSING_API_KEY = "MissingApiKey"
    SERVICE_ERROR = "ServiceError"
    INPUT_CHANGED = "InputChanged"
    UPLOAD_FAILED = "UploadFailed"
    NOT_CONNECTED = "NotConnected"
    ANSWER_LOST = "AnswerLost"
    NOT_FOUND = "NotFound"
    DOWNLOAD_FAILED = "DownloadFailed"
    LINK_EXPIRED = "LinkExpired"
    HOST_NOT_ALLOWED = "HostNotAllowed"
    TOO_LARGE = "TooLarge"
    NOT_AN_IMAGE = "NotAnImage"
    STORAGE = "Storage"
    LEDGER = "Ledger"

    # Of the service's answers.
    UNREADABLE_ANSWER = "UnreadableAnswer"
    INTERCEPTED = "Intercepted"
    """Somebody else than the service has refused."""
    UNREADABLE_ADDRESS = "UnreadableAddress"
    NO_IMAGES = "NoImages"
    """It says that the task succeeded and names no image."""
    TIMED_OUT = "TimedOut"

    # Of calls about tasks and images.
    TASK_NOT_FOUND = "TaskNotFound"
    IMAGE_NOT_FOUND = "ImageNotFound"
    FILE_GONE = "FileGone"
    """It was saved, and the file was moved or deleted since."""
    TOO_LATE = "TooLate"
    """There is nothing left to cancel."""

    # Why an order goes no further now.
    QUEUED = "Queued"
    OTHER_KEY = "OtherKey"
    MISSING_KEY = "MissingKey"

    # Why an order or an image has ended.
    NOT_SENT = "NotSent"
    ANSWER_LOST_FOR_GOOD = "AnswerLostForGood"
    """Sent by the synchronous protocol, which names no task that could be found again."""
    ANSWER_AMBIGUOUS = "AnswerAmbiguous"
    """Several tasks may be the order's."""
    CANCELED = "Canceled"
    EXPIRED = "Expired"
    TASK_FAILED = "TaskFailed"
    FAILED = "Failed"
    NOT_DELIVERED = "NotDelivered"
    """The service gave fewer images than were ordered."""

    # Of the ledger.
    LEDGER_LOCKED = "LedgerLocked"
    LEDGER_DISK_FULL = "LedgerDiskFull"
    LEDGER_UNAVAILABLE = "LedgerUnavailable"
    LEDGER_DAMAGED = "LedgerDamaged"
    LEDGER_TOO_NEW = "LedgerTooNew"
    LEDGER_REPLACED = "LedgerReplaced"
    """The file was deleted, moved away or replaced under a running process."""
    LEDGER_ROW_GONE = "LedgerRowGone"
    LEDGER_UNFINISHED_WRITE = "LedgerUnfinishedWrite"


class AppError(Exception):
    """
    Anything that a caller may be told.

    `message` says what happened, `advice` in plain words what helps; both are our own words and name no tool.
    `next_step` is what to call next, where something is; the edges put it into words. `code` is short and stable: the
    service's own code where it gave one, else an `ErrorCode`. `retryable` says whether the same call may succeed
    later, `nothing_created` that it is certain that no order came of it; both have the class's value unless given.
    """

    default_code: ClassVar[str] = ErrorCode.ERROR
    retryable: bool = False
    nothing_created: bool = True

    def __init__(
        self,
        message: str,
        advice: str = "",
        *,
        code: str | None = None,
        next_step: NextStep | None = None,
        retryable: bool | None = None,
        nothing_created: bool | None = None,
    ) -> None:
        # Names of files and words of others may hold what no encoding takes.
        message, advice = well_formed(message), well_formed(advice)
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.code = code or self.default_code
        self.next_step = next_step
        if retryable is not None:
            self.retryable = retryable
        if nothing_created is not None:
            self.nothing_created = nothing_created

    def __str__(self) -> str:
        return f"{self.message} {self.advice}".strip()


class RequestRefusedError(AppError):
    """Raised when an argument is refused before anything is sent."""

    default_code = ErrorCode.INVALID_REQUEST


class FolderNotAllowedError(RequestRefusedError):
    """Raised when a path lies outside the allowed folders."""

    default_code = ErrorCode.FOLDER_NOT_ALLOWED


class InputChangedError(RequestRefusedError):
    """Raised when a picture that is to be sent has another content than at the time of the order, or none."""

    default_code = ErrorCode.INPUT_CHANGED


class LimitError(RequestRefusedError):
    """Raised when a limit that the operator has set is reached; waiting helps."""

    retryable = True


class DailyLimitError(LimitError):
    """Raised when the operator's limit of images in 24 hours is reached."""

    default_code = ErrorCode.DAILY_IMAGE_LIMIT


class CostLimitError(LimitError):
    """Raised when the operator's limit of indicative costs is reached, or nobody can say whether it is."""

    default_code = ErrorCode.COST_LIMIT


class OpenLimitError(LimitError):
    """Raised when as many orders go on as the operator allows at once."""

    default_code = ErrorCode.OPEN_ORDER_LIMIT


class CallLimitError(LimitError):
    """Raised when a principal calls or uploads more often than is allowed; again in `retry_after` seconds."""

    default_code = ErrorCode.CALL_LIMIT

    def __init__(self, message: str, advice: str = "", *, retry_after: float) -> None:
        super().__init__(message, advice)
        self.retry_after = retry_after


class SettingsError(AppError):
    """Raised when settings are missing or wrong; `problems` has a sentence for each where there are several."""

    default_code = ErrorCode.SETTINGS

    def __init__(
        self, message: str, advice: str = "", *, code: str | None = None, problems: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, advice, code=code)
        self.problems = problems


class MissingKeyError(SettingsError):
    """Raised when a region has no key."""

    default_code = ErrorCode.MISSING_API_KEY


class ServiceError(AppError):
    """
    Raised when the service answered with an error.

    `http_status` is the status of the answer (200 for an error inside a task), `request_id` the service's own id
    of the call. A retry may wait `retry_after` seconds if the service said so.
    """

    default_code = ErrorCode.SERVICE_ERROR

    def __init__(
        self,
        message: str,
        advice: str = "",
        *,
        code: str | None = None,
        http_status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        next_step: NextStep | None = None,
        retryable: bool | None = None,
        nothing_created: bool | None = None,
    ) -> None:
        super().__init__(
            message, advice, code=code, next_step=next_step, retryable=retryable, nothing_created=nothing_created
        )
        self.http_status = http_status
        self.request_id = request_id
        self.retry_after = retry_after


class KeyRefusedError(ServiceError):
    """Raised when a region refuses the key."""


class AccessDeniedError(ServiceError):
    """Raised when the key is good and may not do this."""


class QuotaError(ServiceError):
    """Raised when a quota is used up; waiting seldom helps."""


class BillingError(ServiceError):
    """Raised when the account must pay or buy first."""


class ContentRefusedError(ServiceError):
    """Raised when the service's inspection refused the words or the picture."""


class ModelNotFoundError(ServiceError):
    """Raised when the region does not offer the model to this key."""


class ParameterRefusedError(ServiceError):
    """Raised when the service refused an argument that we let through."""


class ThrottledError(ServiceError):
    """Raised when too many requests were sent; waiting helps."""

    retryable = True


class NotCancelableError(ServiceError):
    """Raised when a task is no longer PENDING."""


class InterceptedError(ServiceError):
    """Raised when somebody else than the service refused: a proxy or a firewall on the way."""

    default_code = ErrorCode.INTERCEPTED


class ServiceDownError(ServiceError):
    """Raised for the service's own trouble: a 5xx, or an answer that is not its own."""

    retryable = True
    nothing_created = False


class UploadError(AppError):
    """Raised when a picture could not be put where the service would fetch it; nothing was ordered."""

    default_code = ErrorCode.UPLOAD_FAILED
    retryable = True


class NotConnectedError(AppError):
    """Raised when no connection was opened: it is certain that nothing was sent."""

    default_code = ErrorCode.NOT_CONNECTED
    retryable = True


class AnswerLostError(AppError):
    """Raised when a request was sent and no readable answer came back."""

    default_code = ErrorCode.ANSWER_LOST
    retryable = True
    nothing_created = False


class NotFoundError(AppError):
    """Raised when no such task or image is known."""

    default_code = ErrorCode.NOT_FOUND


class DownloadError(AppError):
    """Raised when an image that exists could not be fetched."""

    default_code = ErrorCode.DOWNLOAD_FAILED
    retryable = True


class LinkExpiredError(DownloadError):
    """Raised when the image's link is over; asking the task again may bring a new one."""

    default_code = ErrorCode.LINK_EXPIRED
    retryable = False


class HostNotAllowedError(DownloadError):
    """Raised when an image address, or a redirect, leads outside the allowed hosts."""

    default_code = ErrorCode.HOST_NOT_ALLOWED
    retryable = False


class TooLargeError(DownloadError):
    """Raised when an image has more bytes than the operator allows."""

    default_code = ErrorCode.TOO_LARGE
    retryable = False


class NotAnImageError(DownloadError):
    """Raised when the bytes that came are no complete picture."""

    default_code = ErrorCode.NOT_AN_IMAGE


class StorageError(AppError):
    """Raised when a file could not be written or read."""

    default_code = ErrorCode.STORAGE
    retryable = True


class LedgerError(AppError):
    """Raised when the ledger cannot be used."""

    default_code = ErrorCode.LEDGER
    retryable = True
