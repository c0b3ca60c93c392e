"""From a request to an order that is written down."""

import hashlib
import json
import logging
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import anyio

from wan_mcp.clock import Clock
from wan_mcp.ledger import DAY, Order, OrderLimits, Placement, new_local_id, to_millionths
from wan_mcp.orders import lifecycle
from wan_mcp.orders.context import OrderContext, Timings
from wan_mcp.orders.inputs import FindResult, FindUpload, find_inputs
from wan_mcp.orders.worker.submit import make_dispatch
from wan_mcp.settings import RegionAccess
from wan_mcp.storage.names import check_filename
from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.catalogue.prices import estimate_most
from wan_mcp_tools.catalogue.regions import SANDBOX
from wan_mcp_tools.domain.errors import (
    AppError,
    ErrorCode,
    FolderNotAllowedError,
    LedgerError,
    MissingKeyError,
    RequestRefusedError,
    SettingsError,
    StorageError,
)
from wan_mcp_tools.domain.principals import LOCAL_ID
from wan_mcp_tools.domain.requests import ImageRequest

_log = logging.getLogger(__name__)

_LONGEST_LOCK = 10.0
"""Seconds for which a ledger that is locked is waited for."""
_LOCK_STEP = 0.2
_SHORTEST_READ = 15.0
"""Seconds that the pictures of an order may take to be read and checked, even for a call that does not wait."""
_NO_OTHER_REGION = "No other region is set up; the region sandbox needs nothing, but its pictures are placeholders."
_JOINERS = "\u200c\u200d"
"""Without width, but with a meaning: they join or part letters, and make one emoji of several."""


class OrderCreator:
    """
    Writes requests down as orders.

    `begin` gives an order as it is when its creating request leaves; one with pictures to be read stands in line
    until they are. `find_result` gives the files of earlier tasks' images, `find_upload` those of uploads.
    """

    def __init__(
        self,
        context: OrderContext,
        *,
        regions: Mapping[str, RegionAccess],
        catalogue: Catalogue,
        limits: OrderLimits,
        timings: Timings,
        worker_id: str,
        begin: Callable[[Order], Order],
        find_result: FindResult,
        find_upload: FindUpload,
    ) -> None:
        self._context = context
        self._regions = regions
        self._catalogue = catalogue
        self._limits = limits
        self._timings = timings
        self._worker_id = worker_id
        self._begin = begin
        self._find_result = find_result
        self._find_upload = find_upload
        self._recent_images = _RecentImages(context.clock)

    async def create(
        self,
        request: ImageRequest,
        *,
        principal: str,
        awaited_seconds: float,
        deduplicate: bool,
        lock_seconds: float,
    ) -> Placement:
        """
        Write a request down as a principal's order; or with `deduplicate` find an equal one, not received yet.

        Equal orders may want their files in different places. A call waits for it during `awaited_seconds`, and
        for a ledger that is locked during `lock_seconds`.

        Raises:
            AppError: nothing was ordered.
        """
        model = self._catalogue.find(request.model)
        access = _find_access(self._regions, request.region, offered_in=model.region_names)
        folder = await self._find_folder(request.output_dir, principal)
        check_filename(request.filename)
        request = await self._find_inputs(request, seconds=max(lock_seconds, _SHORTEST_READ))
        most = estimate_most(request, self._catalogue)
        now = self._context.clock.now()
        order = lifecycle.placed(
            request,
            local_id=new_local_id(),
            account=access.account,
            wire_model=model.wire_id(request.region),
            protocol=self._catalogue.choose_protocol(request),
            fingerprint=_fingerprint(request, access.account, principal),
            folder=str(folder),
            principal=principal,
            cost=to_millionths(most.amount) if most else 0,
            currency=most.currency if most else None,
            worker_id=self._worker_id,
            awaited_until=now + awaited_seconds if awaited_seconds else 0.0,
            now=now,
        )
        placement = await self._place(order, request, deduplicate=deduplicate, lock_seconds=lock_seconds)
        if not placement.deduplicated:
            self._context.observers.tell_change(None, placement.order)
            if order.region != SANDBOX.name:
                self._recent_images.add(order)
        return placement

    async def withdraw(self, order: Order) -> None:
        """End an order that nobody will send any more; its slot is free again."""
        dispatch = make_dispatch(order, self._catalogue, self._timings)
        try:
            await self._context.ledger.orders.save(order, lifecycle.not_sent(order), slot=dispatch.slot)
        except LedgerError as error:
            # Whoever finds it then can only say that its answer was lost.
            _log.warning("order %s could not be withdrawn: %s", order.local_id, error)

    async def _find_folder(self, output_dir: str | None, principal: str) -> Path:
        """
        Find where the images of a request shall lie.

        Raises:
            AppError: nothing can be written there.
        """
        try:
            return await self._context.storage.find_folder(output_dir, owner=principal)
        except StorageError as error:
            raise _tell_nothing_ordered(error) from error
        except FolderNotAllowedError as error:
            advice = f"Order without output_dir and copy the saved file there. {error.advice}"
            raise FolderNotAllowedError(error.message, advice) from error

    async def _find_inputs(self, request: ImageRequest, *, seconds: float) -> ImageRequest:
        """
        Look for the pictures of a request, for so many seconds: the disk of a network may not answer.

        Raises:
            AppError: one of them cannot be used.
        """
        with anyio.move_on_after(seconds):
            try:
                return await find_inputs(
                    request,
                    region_has_uploads=self._context.dashscope.has_uploads(request.region),
                    storage=self._context.storage,
                    catalogue=self._catalogue,
                    find_result=self._find_result,
                    find_upload=self._find_upload,
                )
            except StorageError as error:
                raise _tell_nothing_ordered(error) from error
        raise RequestRefusedError(
            f"The pictures could not be read within {seconds:.0f} seconds. Nothing was ordered.",
            "Give fewer or smaller ones, or copy them to a quicker disk.",
            code=ErrorCode.TIMED_OUT,
            retryable=True,
        )

    async def _place(
        self, order: Order, request: ImageRequest, *, deduplicate: bool, lock_seconds: float
    ) -> Placement:
        """Write an order down, with its slot at once where it can be sent as it is."""
        must_read = any(image.path is not None for image in request.images)
        sending = None if must_read else self._begin(order)
        dispatch = None if must_read else make_dispatch(order, self._catalogue, self._timings)
        clock = self._context.clock
        started = clock.monotonic()
        while True:
            try:
                return await self._context.ledger.orders.place(
                    order,
                    lease=self._timings.lease,
                    limits=self._limits,
                    recent=self._recent_images.list(),
                    deduplicate=deduplicate,
                    dispatch=dispatch,
                    sending=sending,
                )
            except LedgerError as error:
                waited = clock.monotonic() - started
                if error.code != ErrorCode.LEDGER_LOCKED or waited > min(lock_seconds, _LONGEST_LOCK):
                    raise _tell_nothing_ordered(error) from error
                await clock.sleep(_LOCK_STEP)


class _RecentImages:
    """
    The images that this process has ordered in the last 24 hours, by a clock that nobody sets.

    The operator's limit holds although the ledger is deleted under a running server or the wall clock is set forward.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ordered: dict[str, tuple[float, int]] = {}

    def add(self, order: Order) -> None:
        """Take an order that was placed just now."""
        self._ordered[order.local_id] = (self._clock.monotonic(), order.images_ordered)

    def list(self) -> Mapping[str, int]:
        """Give the images of each order by its local id."""
        day_ago = self._clock.monotonic() - DAY
        self._ordered = {local_id: kept for local_id, kept in self._ordered.items() if kept[0] > day_ago}
        return {local_id: images for local_id, (_, images) in self._ordered.items()}


def _fingerprint(request: ImageRequest, account: str, principal: str) -> str:
    """
    Give what is equal for requests of a principal and an account that order the same picture.

    Where the files shall lie makes no other picture of it, nor do blanks or signs that nobody sees: a picture is not
    to be paid for twice. What is sent stays as the caller wrote it.
    """
    picture = request.to_picture() | {"prompt": _normalize(request.prompt)}
    if request.negative_prompt:
        picture["negative_prompt"] = _normalize(request.negative_prompt)
    text = json.dumps(picture, ensure_ascii=False, sort_keys=True)
    # That of the local user is what it was before anybody could sign in. JSON has no line break of its own.
    whose = "" if principal == LOCAL_ID else f"\n{principal}"
    return hashlib.sha256(f"{account}\n{text}{whose}".encode()).hexdigest()


def _normalize(text: str) -> str:
    """Give a text with single blanks and without signs of no width; those that join letters or emoji stay."""
    composed = unicodedata.normalize("NFC", text)
    seen = "".join(
        sign if sign in _JOINERS or unicodedata.category(sign) not in ("Cf", "Cc") else " " * sign.isspace()
        for sign in composed
    )
    return " ".join(seen.split())


def _find_access(regions: Mapping[str, RegionAccess], region: str, *, offered_in: Sequence[str]) -> RegionAccess:
    """
    Say how a region is reached; if it is not, those in which the model is `offered_in` and that are set up are named.

    Raises:
        SettingsError: it cannot be reached with these settings.
    """
    access = regions[region]
    if access.problem:
        usable = [name for name in offered_in if _is_usable(regions.get(name)) and name != SANDBOX.name]
        others = _NO_OTHER_REGION if access.base_url is None else ""
        raise SettingsError(
            access.problem, f"Or order in a region that is set up: {', '.join(usable)}." if usable else others
        )
    if access.api_key is None:
        raise MissingKeyError(
            f"There is no API key for the region {region}.",
            f"Set {access.key_setting} in the server's environment. Keys come from the Model Studio console of "
            "that region; a key of another region is refused. The region sandbox needs none, but its pictures "
            "are placeholders: it is for trying the tools out.",
        )
    return access


def _is_usable(access: RegionAccess | None) -> bool:
    return access is not None and access.api_key is not None and access.problem is None


def _tell_nothing_ordered(error: LedgerError | StorageError) -> AppError:
    """Give an error that also says that nothing was ordered."""
    return type(error)(
        f"{error.message} Nothing was ordered.",
        error.advice,
        code=error.code,
        next_step=error.next_step,
        retryable=error.retryable,
    )
