"""
The pictures that an order is given: which files they are when it is written down, and what is sent of them.

They are never stored a second time. An order keeps where each was and the digest of its bytes; at sending the file is
read again and must have that digest.
"""

import math
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from anyio.to_thread import run_sync

from wan_mcp.dashscope import DashScope, check_input_url
from wan_mcp.images.inputs import PreparedInput
from wan_mcp.ledger import Order
from wan_mcp.orders.context import OrderContext
from wan_mcp.storage import Storage
from wan_mcp.storage.names import show_path
from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.catalogue.model import InputLimits
from wan_mcp_tools.domain.errors import InputChangedError, NotFoundError, RequestRefusedError
from wan_mcp_tools.domain.record import Record
from wan_mcp_tools.domain.requests import ImageRequest, InputImage, InputSource

MOST_BODY_BYTES = 10_000_000
"""Of an order: with more, all of its pictures are uploaded beforehand."""
MOST_INLINE_BYTES = 30_000_000
"""Of an order where nothing can be uploaded."""
_WORDS_BYTES = 65_536
"""What an order needs beside its pictures, at most."""
_UPLOAD_LIVES = 47 * 3600.0
"""Seconds. The service keeps an upload for 48 hours, and an order is not sent in the last of them."""
_BOXES = "bbox_list"
"""The option that marks parts of the pictures, in their pixels: a list of boxes for each of them."""

FindResult = Callable[[str, int], Awaitable[Path]]
"""Gives the file of a saved image of an earlier task, by the task's id and the image's index."""
FindUpload = Callable[[str], Awaitable[Path]]
"""Gives the file of an upload of the caller's, by its id."""


async def find_inputs(
    request: ImageRequest,
    *,
    region_has_uploads: bool,
    storage: Storage,
    catalogue: Catalogue,
    find_result: FindResult,
    find_upload: FindUpload,
) -> ImageRequest:
    """
    Look for the pictures of a request and check them against its model; give it with what is known of each.

    Where nobody has chosen a size, it is that of the last picture, as far as the model has such a rule.

    Raises:
        AppError: a picture cannot be used, as it is or at all.
    """
    limits = catalogue.find(request.model).inputs
    if not request.images or limits is None:
        return request
    images: list[InputImage] = []
    size, total = None, _WORDS_BYTES
    for number, image in enumerate(request.images):
        if image.source is InputSource.URL:
            check_input_url(image.reference)
            images.append(image)
            size = None
            continue
        path = await _find_file(image, storage, find_result, find_upload)
        prepared = await _read(image, path, limits, storage)
        width, height = round(prepared.width / prepared.scale), round(prepared.height / prepared.scale)
        found = replace(image, path=str(path), sha256=prepared.sha256, changes=prepared.changes)
        if min(width, height) < limits.advised_min_side:
            found = replace(found, advised_side=limits.advised_min_side)
        images.append(found)
        size = prepared.width, prepared.height
        _check_boxes(request.options, number, width, height)
        total += _count_inline(prepared)
        # One picture at a time is held, and not beside the next one.
        del prepared
    if total > MOST_INLINE_BYTES and not region_has_uploads:
        raise _refuse_size(request.region)
    request = replace(request, images=tuple(images))
    return request if size is None else catalogue.fit_size(request, *size)


def _check_boxes(options: Mapping[str, Any], number: int, width: int, height: int) -> None:
    """
    Make sure that the boxes that are marked on a picture lie on it; its sides are those of the file, in pixels.

    Raises:
        RequestRefusedError: one does not.
    """
    marked = cast("list[list[list[int]]]", options.get(_BOXES) or [])
    boxes = marked[number] if number < len(marked) else []
    for box in boxes:
        if box[2] > width or box[3] > height:
            raise RequestRefusedError(
                f"options: {_BOXES} marks {box} on picture {number + 1}, which has {width}*{height} pixels.",
                "Give boxes [x1,y1,x2,y2] in its pixels, from the top left.",
            )


async def _find_file(image: InputImage, storage: Storage, find_result: FindResult, find_upload: FindUpload) -> Path:
    if image.source is InputSource.FILE:
        return await storage.find_input(image.reference)
    if image.source is InputSource.UPLOAD:
        return await find_upload(image.reference)
    task_id, _, index = image.reference.rpartition("#")
    return await find_result(task_id, int(index))


async def _read(image: InputImage, path: Path, limits: InputLimits, storage: Storage) -> PreparedInput:
    try:
        return await storage.prepare_input(path, limits, name=_find_name(image))
    except NotFoundError as error:
        if image.source is not InputSource.FILE or Path(image.reference).is_absolute():
            raise
        raise NotFoundError(
            error.message,
            "Give the full path of a picture in an allowed folder; a relative one begins in the image folder, not in "
            "your project.",
            code=error.code,
        ) from error


def _find_name(image: InputImage) -> str | None:
    """Give what messages call a picture, where that is not the place of its file: nobody knows that of an upload."""
    return image.reference if image.source is InputSource.UPLOAD else None


class SentInputs(Record):
    """What an order says of its pictures on the wire: their addresses, and its options, whose boxes fit them."""

    addresses: tuple[str, ...]
    options: Mapping[str, Any]


class _Upload(Record):
    address: str
    until: float
    scale: float


class InputSender:
    """
    Brings the pictures of an order onto the wire, one after the other.

    What was uploaded is remembered as long as it lives, for the order that it was uploaded for and its next attempt.
    """

    def __init__(self, context: OrderContext, catalogue: Catalogue) -> None:
        self._storage = context.storage
        self._dashscope: DashScope = context.dashscope
        self._clock = context.clock
        self._catalogue = catalogue
        self._uploads: dict[tuple[str, int], _Upload] = {}

    async def send(self, order: Order) -> SentInputs:
        """
        Give what is sent of an order's pictures: as they are in its body, or all uploaded if that grows too large.

        Raises:
            InputChangedError: a picture is not the one any more that was ordered with.
            AppError: one cannot be read, or not be uploaded now.
        """
        request = order.request
        if request is None or not request.images:
            return SentInputs((), request.options if request else {})
        # Nothing is read that will be uploaded again at once.
        is_uploaded = any(local_id == order.local_id for local_id, _ in self._uploads)
        sent = None if is_uploaded else await self._send_inline(order, request)
        return sent or await self._upload_all(order, request)

    def forget(self, order: Order) -> None:
        """Let go of what was uploaded for an order that is sent no more."""
        for key in [key for key in self._uploads if key[0] == order.local_id]:
            del self._uploads[key]

    async def _send_inline(self, order: Order, request: ImageRequest) -> SentInputs | None:
        """Give the pictures as `data:` addresses; None if they are too large for that and can be uploaded."""
        can_upload = self._dashscope.has_uploads(order.region)
        most = MOST_BODY_BYTES if can_upload else MOST_INLINE_BYTES
        addresses: list[str] = []
        scales: list[float] = []
        total = _WORDS_BYTES
        for image in request.images:
            if image.path is None:
                addresses.append(image.reference)
                scales.append(1.0)
                continue
            prepared = await self._read_again(image, request)
            total += _count_inline(prepared)
            if total > most:
                break
            addresses.append(await run_sync(_to_data_address, prepared))
            scales.append(prepared.scale)
            del prepared
        else:
            return SentInputs(tuple(addresses), scale_boxes(request.options, scales))
        if can_upload:
            return None
        raise _refuse_size(order.region)

    async def _upload_all(self, order: Order, request: ImageRequest) -> SentInputs:
        addresses: list[str] = []
        scales: list[float] = []
        for number, image in enumerate(request.images):
            if image.path is None:
                addresses.append(image.reference)
                scales.append(1.0)
                continue
            key = (order.local_id, number)
            known = self._uploads.get(key)
            if known is None or known.until < self._clock.monotonic():
                prepared = await self._read_again(image, request)
                until = self._clock.monotonic() + _UPLOAD_LIVES
                address = await self._dashscope.upload(
                    order.region, order.wire_model or "", prepared.data, prepared.mime_type
                )
                known = self._uploads[key] = _Upload(address, until, prepared.scale)
                del prepared
            addresses.append(known.address)
            scales.append(known.scale)
        return SentInputs(tuple(addresses), scale_boxes(request.options, scales))

    async def _read_again(self, image: InputImage, request: ImageRequest) -> PreparedInput:
        limits = self._catalogue.find(request.model).inputs
        if limits is None:
            raise RequestRefusedError(f"{request.model} takes no pictures any more.", "Use another model.")
        try:
            return await self._storage.prepare_input(
                Path(image.path or ""), limits, sha256=image.sha256, name=_find_name(image)
            )
        except NotFoundError as error:
            shown = _find_name(image) or show_path(image.path or "")
            raise InputChangedError(
                f"The picture {shown} has been moved or deleted since it was ordered with.",
                "Order again with the picture where it is now.",
            ) from error


def _refuse_size(region: str) -> RequestRefusedError:
    return RequestRefusedError(
        f"The pictures have more than {MOST_INLINE_BYTES // 1_000_000} million bytes in all as they are sent, and "
        f"none can be uploaded in the region {region} with this key.",
        "Give fewer or smaller ones.",
    )


def scale_boxes(options: Mapping[str, Any], scales: Sequence[float]) -> Mapping[str, Any]:
    """Give options whose boxes fit pictures that are sent smaller than they are."""
    marked = options.get(_BOXES)
    if not isinstance(marked, list) or all(scale == 1 for scale in scales):
        return options
    scaled = [
        [
            [*(math.floor(side * scale) for side in box[:2]), *(math.ceil(side * scale) for side in box[2:])]
            for box in boxes
        ]
        for boxes, scale in zip(cast("list[list[list[float]]]", marked), scales, strict=False)
    ]
    return {**options, _BOXES: scaled}


def _count_inline(prepared: PreparedInput) -> int:
    """Count the bytes that a picture takes in the body of an order."""
    return len(prepared.data) * 4 // 3 + len(prepared.mime_type) + 64


def _to_data_address(prepared: PreparedInput) -> str:
    return f"data:{prepared.mime_type};base64,{b64encode(prepared.data).decode('ascii')}"
