"""
What can go wrong, by who can act on it.

    AppError
    ├── RequestRefusedError        the arguments: the caller corrects them; nothing was sent
    │   ├── FolderNotAllowedError      a path outside the allowed folders
    │   └── DailyLimitError            the operator's own limit is reached
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
    │   └── ServiceDownError           5xx: the service's own trouble
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

Every error carries three facts beside its sentence: whether trying again can help, whether it is certain that
no order came of it, and what to do next.
"""

from typing import ClassVar


class AppError(Exception):
    """
    Anything that a caller may be told.

    `message` says what happened, `advice` what to do next; both are our own words. `code` is short and stable:
    the service's own code where it gave one. `retryable` says whether the same call may succeed later.
    `nothing_created` says that it is certain that no order came of it.
    """

    default_code: ClassVar[str] = "Error"
    retryable: bool = False
    nothing_created: bool = True

    def __init__(self, message: str, advice: str = "", *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.code = code or self.default_code

    def __str__(self) -> str:
        return f"{self.message} {self.advice}".strip()


class RequestRefusedError(AppError):
    """Raised when an argument is refused before anything is sent."""

    default_code = "InvalidRequest"


class FolderNotAllowedError(RequestRefusedError):
    """Raised when a path lies outside the allowed folders."""

    default_code = "FolderNotAllowed"


class DailyLimitError(RequestRefusedError):
    """Raised when the operator's limit of images in 24 hours is reached."""

    default_code = "DailyImageLimit"
    retryable = True


class SettingsError(AppError):
    """Raised when settings are missing or wrong; `problems` has a sentence for each where there are several."""

    default_code = "Settings"

    def __init__(
        self, message: str, advice: str = "", *, code: str | None = None, problems: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, advice, code=code)
        self.problems = problems


class MissingKeyError(SettingsError):
    """Raised when a region has no key."""

    default_code = "MissingApiKey"


class ServiceError(AppError):
    """
    Raised when the service answered with an error.

    `http_status` is the status of the answer (200 for an error inside a task), `request_id` the service's own id
    of the call. A retry may wait `retry_after` seconds if the service said so.
    """

    default_code = "ServiceError"

    def __init__(
        self,
        message: str,
        advice: str = "",
        *,
        code: str | None = None,
        http_status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, advice, code=code)
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


class ServiceDownError(ServiceError):
    """Raised for the service's own trouble: a 5xx, or an answer that is not its own."""

    retryable = True
    nothing_created = False


class NotConnectedError(AppError):
    """Raised when no connection was opened: it is certain that nothing was sent."""

    default_code = "NotConnected"
    retryable = True


class AnswerLostError(AppError):
    """Raised when a request was sent and no readable answer came back."""

    default_code = "AnswerLost"
    retryable = True
    nothing_created = False


class NotFoundError(AppError):
    """Raised when no such task or image is known."""

    default_code = "NotFound"


class DownloadError(AppError):
    """Raised when an image that exists could not be fetched."""

    default_code = "DownloadFailed"
    retryable = True


class LinkExpiredError(DownloadError):
    """Raised when the image's link is over; asking the task again may bring a new one."""

    default_code = "LinkExpired"
    retryable = False


class HostNotAllowedError(DownloadError):
    """Raised when an image address, or a redirect, leads outside the allowed hosts."""

    default_code = "HostNotAllowed"
    retryable = False


class TooLargeError(DownloadError):
    """Raised when an image has more bytes than the operator allows."""

    default_code = "TooLarge"
    retryable = False


class NotAnImageError(DownloadError):
    """Raised when the bytes that came are no complete picture."""

    default_code = "NotAnImage"


class StorageError(AppError):
    """Raised when a file could not be written or read."""

    default_code = "Storage"
    retryable = True


class LedgerError(AppError):
    """Raised when the ledger cannot be used."""

    default_code = "Ledger"
    retryable = True
