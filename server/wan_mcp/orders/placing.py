"""From a request to an order that is written down."""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import replace

from wan_mcp.ledger import Dispatch, NewOrder, Order, Placement
from wan_mcp.orders.accounts import fingerprint
from wan_mcp.orders.ids import new_local_id
from wan_mcp.orders.outcomes import closed
from wan_mcp.orders.parts import Parts
from wan_mcp.orders.sending import NEVER_SENT
from wan_mcp.settings import RegionAccess
from wan_mcp_tools.domain.errors import (
    AppError,
    FolderNotAllowedError,
    LedgerError,
    MissingKeyError,
    SettingsError,
    StorageError,
)
from wan_mcp_tools.domain.requests import ImageRequest

_log = logging.getLogger(__name__)

_LOCKED = 10.0
"""Seconds for which a ledger that is locked is waited for."""


class Placer:
    """Writes orders down; `dispatch` says what an order needs to be sent."""

    def __init__(self, parts: Parts, dispatch: Callable[[NewOrder | Order], Dispatch]) -> None:
        self._parts = parts
        self._dispatch = dispatch

    async def place(self, request: ImageRequest, *, wanted_for: float, join: bool, patience: float) -> Placement:
        """
        Write a request down as an order, or with `join` find its unreceived twin, wherever that is to be saved.

        A call waits for it during `wanted_for` seconds. A ledger that is locked is waited for during `patience`
        seconds.

        Raises:
            AppError: nothing was ordered.
        """
        access = self._access(request.region)
        try:
            folder = await self._parts.storage.folder(request.output_dir)
        except StorageError as error:
            raise _without_order(error) from error
        except FolderNotAllowedError as error:
            advice = f"Order without output_dir and copy the saved file there. {error.advice}"
            raise FolderNotAllowedError(error.message, advice) from error
        self._parts.storage.check_filename(request.filename)
        new = self._describe(request, access, str(folder))
        wanted = self._parts.clock.now() + wanted_for if wanted_for else 0.0
        return await self._write(new, wanted, join=join, patience=patience)

    async def withdraw(self, order: Order) -> None:
        """End an order that nobody will send any more; its slot is free again."""
        slot = self._dispatch(order).slot
        try:
            await self._parts.ledger.advance(order, closed(NEVER_SENT), free_slot=slot.name if slot else None)
        except LedgerError as error:
            # Whoever finds it then can only say that its answer was lost.
            _log.warning("order %s could not be withdrawn: %s", order.local_id, error)

    def _access(self, region: str) -> RegionAccess:
        """
        Say how a region is reached.

        Raises:
            SettingsError: it cannot be reached with these settings.
        """
        access = self._parts.settings.regions[region]
        if access.problem:
            raise SettingsError(access.problem)
        if access.api_key is None:
            raise MissingKeyError(
                f"There is no API key for the region {region}.",
                f"Set {access.key_setting} in the server's environment. Keys come from the Model Studio console of "
                "that region; a key of another region is refused. The region sandbox needs none, but its pictures "
                "are placeholders: it is for trying the tools out.",
            )
        return access

    def _describe(self, request: ImageRequest, access: RegionAccess, folder: str) -> NewOrder:
        model = self._parts.catalogue.find(request.model)
        text = _write(request)
        # Where the files shall lie makes no other picture of it, and a picture is not to be paid for twice.
        picture = _write(replace(request, output_dir=None, filename=None))
        account = fingerprint(access.api_key)
        return NewOrder(
            local_id=new_local_id(),
            region=request.region,
            account=account,
            model=model.id,
            wire_model=model.wire_id(request.region),
            protocol=self._parts.catalogue.protocol(request),
            request=text,
            fingerprint=hashlib.sha256(f"{account}\n{picture}".encode()).hexdigest(),
            images=request.n,
            folder=folder,
        )

    async def _write(self, new: NewOrder, wanted_until: float, *, join: bool, patience: float) -> Placement:
        clock, started = self._parts.clock, self._parts.clock.monotonic()
        while True:
            try:
                return await self._parts.ledger.place(
                    new,
                    owner=self._parts.owner,
                    lease=self._parts.timings.lease,
                    wanted_until=wanted_until,
                    daily_limit=self._parts.settings.daily_image_limit,
                    join=join,
                    dispatch=self._dispatch(new),
                )
            except LedgerError as error:
                if error.code != "LedgerLocked" or clock.monotonic() - started > min(patience, _LOCKED):
                    raise _without_order(error) from error
                await clock.sleep(0.2)


def _write(request: ImageRequest) -> str:
    return json.dumps(request.to_dict(), ensure_ascii=False, sort_keys=True)


def _without_order(error: LedgerError | StorageError) -> AppError:
    """Give an error that also says that nothing was ordered."""
    told = type(error)(f"{error.message} Nothing was ordered.", error.advice, code=error.code)
    told.retryable = error.retryable
    return told
