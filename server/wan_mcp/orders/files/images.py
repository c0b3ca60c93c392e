"""Images for a caller: where they are, under a name of its choice, fetched once more, or small enough to look at."""

from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import anyio

from wan_mcp.clock import utc
from wan_mcp.ledger import ImageState, Order, OrderImage, Stage
from wan_mcp.orders.context import OrderContext
from wan_mcp.orders.lifecycle import is_over, with_image
from wan_mcp.orders.presentation import describe_image, find_relative_folder, to_saved_image
from wan_mcp.orders.worker.download import SaveTarget
from wan_mcp.orders.worker.queries import Queries
from wan_mcp.orders.worker.worker import OrderWorker
from wan_mcp.storage.base import ImageCopy
from wan_mcp.storage.names import check_filename, find_name_change, show_path
from wan_mcp.storage.thumbnails import ThumbnailCache
from wan_mcp_tools.domain.errors import (
    AppError,
    ErrorCode,
    FolderNotAllowedError,
    LedgerError,
    NotFoundError,
    RequestRefusedError,
)
from wan_mcp_tools.domain.next_step import NextAction, NextStep
from wan_mcp_tools.domain.principals import current_principal
from wan_mcp_tools.domain.requests import InputImage
from wan_mcp_tools.domain.service import Conversion, ImageData, Preview
from wan_mcp_tools.domain.tasks import FailedImage, SavedImage

_BRIEFLY = 0.5
"""Seconds that an answer waits for the ledger, to note what it finds out by itself the next time."""
_LONGEST_NAME = 60
_MOST_THUMBNAIL_BYTES = 100_000


class OrderImages:
    """Copies, fetches and shrinks images; never orders one. Nothing else brings back a file that a person removed."""

    def __init__(
        self,
        context: OrderContext,
        *,
        queries: Queries,
        worker: OrderWorker,
        worker_id: str,
        thumbnails: ThumbnailCache,
    ) -> None:
        self._context = context
        self._storage = context.storage
        self._clock = context.clock
        self._queries = queries
        self._worker = worker
        self._thumbnails = thumbnails
        self._file_owner = worker_id.rpartition("/")[2]

    async def download(
        self,
        order: Order,
        index: int,
        *,
        output_dir: str | None,
        filename: str | None,
        conversion: Conversion | None,
    ) -> SavedImage:
        """
        Put an image of an order, or a converted copy of it, where the caller wants it; or say where it is.

        An image that is to be converted and is no file yet is saved first, where it belongs.

        Raises:
            NotFoundError: there is no such image, or it cannot be had any more.
            FolderNotAllowedError: the folder lies outside the allowed ones.
            AppError: it cannot be fetched or written now.
        """
        image = find_image(order, index)
        storage = self._storage
        name = check_filename(filename)
        try:
            folder = await storage.find_folder(output_dir, owner=order.principal) if output_dir else None
        except FolderNotAllowedError as error:
            if image.state is not ImageState.SAVED or await storage.find_missing([Path(image.path or "")]):
                raise
            shown = show_path(image.path or "")
            advice = f"The image is already saved as {shown}: copy that file there. {error.advice}"
            raise FolderNotAllowedError(error.message, advice) from error
        if image.state is ImageState.FAILED or (image.url is None and image.state is not ImageState.SAVED):
            raise NotFoundError(
                f"Image {index} of the task {order.best_id} was not made: {image.message or image.code}",
                "Order again if the picture is still wanted.",
                code=ErrorCode.IMAGE_NOT_FOUND,
            )
        wanted_folder = None
        home, stem = (folder, name) if conversion is None else (None, None)
        if image.state is not ImageState.SAVED:
            image = await self._save_now(order, image, home, stem)
        elif await storage.find_missing([Path(image.path or "")]):
            found = await self._find_moved(order, image)
            if found is None:
                found, wanted_folder = await self._fetch_again(order, image, home, stem)
            image = found
        source = Path(image.path or "")
        relative = find_relative_folder(output_dir, folder)
        if not current_principal().is_local and (conversion is not None or name is not None):
            # Wherever the image was moved to: a link to the copy leads into the folder of its owner.
            folder = await storage.find_folder(None, owner=order.principal)
        if conversion is None and folder in (None, source.parent) and name is None:
            saved = await self._describe_saved(order, image)
            return replace(saved, name_change=None, wanted_folder=wanted_folder, relative_folder=relative)
        try:
            copied = await self._copy(source, folder or source.parent, filename, index=index, conversion=conversion)
        except FolderNotAllowedError as error:
            raise _explain_outside(order, image, error) from error
        return replace(copied, wanted_folder=wanted_folder, relative_folder=relative)

    async def download_url(
        self,
        url: str,
        region: str,
        *,
        output_dir: str | None,
        filename: str | None,
        conversion: Conversion | None,
    ) -> SavedImage:
        """
        Fetch a result by its link into a folder; the same bytes under the same name are not written twice.

        What is to be converted is saved in the default folder, and its copy is put where the caller wants it.
        """
        storage = self._storage
        name = check_filename(filename)
        owner = current_principal().id
        folder = await storage.find_folder(output_dir, owner=owner)
        relative = find_relative_folder(output_dir, folder)
        if conversion is not None:
            saved = await self._fetch_url(url, region, await storage.find_folder(None, owner=owner), None)
            home = folder if output_dir else saved.path.parent
            copied = await self._copy(saved.path, home, filename, index=1, conversion=conversion)
            return replace(copied, relative_folder=relative)
        saved = await self._fetch_url(url, region, folder, name)
        return replace(_to_saved_image(saved, 1, filename), relative_folder=relative)

    async def _copy(
        self, source: Path, folder: Path, filename: str | None, *, index: int, conversion: Conversion | None
    ) -> SavedImage:
        copied = await self._storage.copy(source, folder, check_filename(filename), conversion)
        return _to_saved_image(copied, index, filename)

    async def _fetch_url(self, url: str, region: str, folder: Path, name: str | None) -> ImageCopy:
        storage = self._storage
        stem = name or check_filename(_find_name(url)) or "image"
        owner = f"{self._file_owner}-{id(url):x}"
        async with storage.open_draft(folder, order_id="download", index=1, owner=owner) as draft:
            await self._context.dashscope.download(region, url, draft, is_callers=True)
            facts = await draft.verify()
            target = folder / f"{stem}{facts.extension}"
            if not await storage.matches(target, facts.sha256):
                target = await draft.find_target(stem, facts.extension)
                while not await draft.publish(target):
                    target = await draft.find_target(stem, facts.extension)
        return ImageCopy(target, facts)

    async def draw_preview(self, order: Order | None, index: int, path: str | None) -> Preview:
        """Give a small picture of a saved image."""
        if order is None:
            return await self._storage.draw_preview(await self._storage.find_readable(path or ""))
        return await self._storage.draw_preview(await self.find_file(order, index))

    async def read(self, order: Order, index: int, most_bytes: int) -> ImageData:
        """Give a saved image: the file's own bytes if they are at most `most_bytes`, else a small picture of it."""
        path = await self.find_file(order, index)
        data, facts = await self._storage.read(path)
        file = SavedImage(index, show_path(path), facts.width, facts.height, facts.bytes)
        if facts.bytes <= most_bytes:
            return ImageData(data, facts.mime_type, file, reduced=False)
        small = await self._storage.draw_preview(path)
        return ImageData(small.data, small.mime_type, file, reduced=True)

    async def draw_thumbnail(self, order: Order, index: int, side: int) -> Preview:
        """Give a tiny picture of a saved image; it is drawn once and kept."""
        path = await self.find_file(order, index)
        draw = partial(self._storage.draw_preview, path, max_side=side, max_bytes=_MOST_THUMBNAIL_BYTES)
        return await self._thumbnails.fetch(await self._storage.read_version(path), side, draw)

    async def draw_input(self, given: InputImage, side: int) -> Preview:
        """Give a tiny picture of a file that an order was given; one that has changed since is another picture."""
        if given.path is None or given.sha256 is None:
            raise NotFoundError("This picture is an address of the web: it was never fetched by this program.")
        path = await self._storage.locate(Path(given.path))
        if not await self._storage.matches(path, given.sha256):
            raise NotFoundError("The file has been changed since it was ordered with.", code=ErrorCode.FILE_GONE)
        # Drawn anew each time: of what was put in no copy is kept.
        return await self._storage.draw_preview(path, max_side=side, max_bytes=_MOST_THUMBNAIL_BYTES)

    async def find_files(self, order: Order) -> tuple[Order, dict[int, FailedImage]]:
        """
        Look for the files of the saved images.

        Gives the order with each that was moved where it lies now, and tells, by index, of those that are gone.
        """
        paths = [Path(image.path) for image in order.images if image.state is ImageState.SAVED and image.path]
        missing = {str(path) for path in await self._storage.find_missing(paths)}
        gone: dict[int, FailedImage] = {}
        for image in order.images:
            if image.state is ImageState.SAVED and image.path in missing:
                found = await self._find_moved(order, image)
                if found is None:
                    gone[image.index] = self._describe_gone(order, image)
                else:
                    order = with_image(order, found)
        return order, gone

    async def _find_moved(self, order: Order, image: OrderImage) -> OrderImage | None:
        """Look for an image whose file is not where it was, and write down where it lies now."""
        if not image.path or not image.sha256:
            return None
        path = await self._storage.find_moved(Path(image.path), sha256=image.sha256, size=image.bytes)
        if path is None:
            return None
        found = replace(image, path=str(path))
        with suppress(LedgerError), anyio.move_on_after(_BRIEFLY):
            # If it cannot be written down now, it is found again the next time.
            await self._context.ledger.orders.move_image(order.local_id, found)
        return found

    async def _describe_saved(self, order: Order, image: OrderImage) -> SavedImage:
        """Give an image that is a file, measured anew unless it lies where it may not be read any more."""
        try:
            facts = await self._storage.read_facts(Path(image.path or ""))
        except FolderNotAllowedError:
            return to_saved_image(image, order)
        return SavedImage(image.index, show_path(image.path or ""), facts.width, facts.height, facts.bytes)

    async def find_file(self, order: Order, index: int) -> Path:
        """
        Find the file of a saved image, in an allowed folder.

        Raises:
            NotFoundError: there is no such image, it is not saved, or its file is gone.
            FolderNotAllowedError: it lies outside the folders that are allowed now.
            AppError: it is no image, or cannot be read.
        """
        image = find_image(order, index)
        if image.state is not ImageState.SAVED or not image.path:
            raise NotFoundError(
                f"Image {index} of the task {order.best_id} is not saved.",
                code=ErrorCode.IMAGE_NOT_FOUND,
                next_step=NextStep(NextAction.GET_TASK_FOR_REASON, task_id=order.best_id),
                retryable=image.state is not ImageState.FAILED,
            )
        order, gone = await self.find_files(replace(order, images=(image,)))
        if index in gone:
            failed = gone[index]
            raise NotFoundError(failed.message, code=failed.code, next_step=failed.next_step)
        image = find_image(order, index)
        try:
            return await self._storage.locate(Path(image.path or ""))
        except FolderNotAllowedError as error:
            raise _explain_outside(order, image, error) from error

    async def _save_now(self, order: Order, image: OrderImage, folder: Path | None, stem: str | None) -> OrderImage:
        """
        Save an image that could not be saved so far, once, where the caller wants it.

        Raises:
            AppError: it still cannot be saved; the background goes on trying.
        """
        target = SaveTarget(folder, stem)
        await self._worker.save_image(order, image.index, target)
        if target.saved is not None:
            return target.saved
        # Whoever worked on the order may have been about to save it where the order wants it.
        latest = await self._context.ledger.orders.get(order.local_id) or order
        saved = latest.image(image.index)
        if saved is not None and saved.state is ImageState.SAVED:
            return saved
        raise target.failure or NotFoundError(
            f"Image {image.index} of the task {order.best_id} could not be saved at this moment.",
            "Call again in a moment.",
            code=ErrorCode.IMAGE_NOT_FOUND,
        )

    async def _fetch_again(
        self, order: Order, image: OrderImage, folder: Path | None, stem: str | None
    ) -> tuple[OrderImage, str | None]:
        """
        Fetch a saved image whose file is gone once more: where it was, unless the caller wants it elsewhere.

        Gives also the folder where it was, if that is not allowed any more and the default one took its place.

        Raises:
            NotFoundError: the service does not have it any more.
            AppError: it cannot be fetched or written now.
        """
        before = Path(image.path or "")
        storage, refused = self._storage, None
        try:
            home = await storage.find_known_folder(folder or before.parent)
        except RequestRefusedError:
            if folder is not None:
                raise
            home = await storage.find_folder(None, owner=order.principal)
            refused = show_path(before.parent)
        url = await self._find_new_link(order, image)
        owner = f"{self._file_owner}{id(url):x}"
        async with storage.open_draft(home, order_id="again", index=image.index, owner=owner) as draft:
            await self._context.dashscope.download(order.region, url, draft)
            facts = await draft.verify()
            stem = stem or self._keep_stem(before)
            target = home / f"{stem}{facts.extension}"
            # Its own sidecar may still lie there, so the name is free though its sidecar's is not.
            if not (target == before and await draft.publish(target)):
                target = await draft.find_target(stem, facts.extension)
                while not await draft.publish(target):
                    target = await draft.find_target(stem, facts.extension)
        found = OrderImage(
            image.index,
            ImageState.SAVED,
            path=str(target),
            width=facts.width,
            height=facts.height,
            bytes=facts.bytes,
            sha256=facts.sha256,
        )
        await self._context.ledger.orders.move_image(order.local_id, found)
        description = describe_image(order, found, self._clock.now())
        await storage.write_sidecar(target, description, order_id=order.local_id)
        return found, refused

    def _keep_stem(self, path: Path) -> str:
        """Give the stem of a path of the ledger, if a file may be called so."""
        try:
            return check_filename(path.stem) or "image"
        except RequestRefusedError:
            return "image"

    async def _find_new_link(self, order: Order, image: OrderImage) -> str:
        reason = NotFoundError(
            _explain_gone(order, image, can_fetch_again=False),
            "Order again if it is still wanted.",
            code=ErrorCode.FILE_GONE,
        )
        if not self._can_fetch_again(order):
            raise reason
        try:
            answer = await self._queries.get_task(order.region, order.task_id or "", images=order.images_ordered)
        except AppError as error:
            raise NotFoundError(
                f"{_tell_gone(image)} The service could not be asked for it: {error.message}",
                error.advice or "Call again in a moment.",
                code=ErrorCode.FILE_GONE,
            ) from error
        url = next((found.url for found in answer.images if found.index == image.index), None)
        if url is None:
            raise reason
        return url

    def _can_fetch_again(self, order: Order) -> bool:
        return order.task_id is not None and not is_over(order, self._clock.now())

    def _describe_gone(self, order: Order, image: OrderImage) -> FailedImage:
        step = None
        if self._can_fetch_again(order) and order.expires_at is not None:
            until = utc(order.expires_at)
            step = NextStep(NextAction.FETCH_AGAIN, task_id=order.task_id, index=image.index, until=until)
        message = _explain_gone(order, image, can_fetch_again=step is not None)
        return FailedImage(image.index, ErrorCode.FILE_GONE, message, next_step=step)


def _to_saved_image(copied: ImageCopy, index: int, filename: str | None) -> SavedImage:
    facts = copied.facts
    return SavedImage(
        index,
        show_path(copied.path),
        facts.width,
        facts.height,
        facts.bytes,
        name_change=find_name_change(filename, copied.path.name, index=1, count=1),
        remarks=copied.remarks,
    )


def find_image(order: Order, index: int) -> OrderImage:
    """
    Find an image of an order.

    Raises:
        NotFoundError: the order has no images, or none yet.
        RequestRefusedError: it has others.
    """
    image = order.image(index)
    if image is not None:
        return image
    if not order.images and order.stage is Stage.CLOSED:
        reason = order.error_message or f"The task is {order.status}."
        raise NotFoundError(f"The task {order.best_id} has no images: {reason}", code=ErrorCode.IMAGE_NOT_FOUND)
    if not order.images:
        raise NotFoundError(
            f"The task {order.best_id} is {order.status} and has no images yet.",
            code=ErrorCode.IMAGE_NOT_FOUND,
            next_step=NextStep(NextAction.WAIT_FIRST, task_id=order.best_id),
            retryable=True,
        )
    indexes = ", ".join(str(image.index) for image in order.images)
    raise RequestRefusedError(f"The task {order.best_id} has no image {index}.", f"Its images are: {indexes}.")


def _explain_outside(order: Order, image: OrderImage, error: FolderNotAllowedError) -> FolderNotAllowedError:
    """Say that an image lies where it may not be read: in a folder that was allowed once, or that never was."""
    return FolderNotAllowedError(
        f"Image {image.index} of the task {order.best_id} is saved as {show_path(image.path or '')}, outside the "
        "folders that are allowed now, and is not read there.",
        error.advice,
    )


def _tell_gone(image: OrderImage) -> str:
    return f"It was saved as {show_path(image.path or '')}, and that file has been moved or deleted since."


def _explain_gone(order: Order, image: OrderImage, *, can_fetch_again: bool) -> str:
    if order.task_id is None:
        return f"{_tell_gone(image)} The synchronous protocol keeps no task to fetch it from again."
    if can_fetch_again:
        return _tell_gone(image)
    return f"{_tell_gone(image)} The service keeps images for 24 hours and has it no longer."


def _find_name(url: str) -> str | None:
    try:
        stem = PurePosixPath(urlsplit(url).path).stem
    except ValueError:
        # Whether it is an address at all is said where it is fetched from.
        return None
    kept = "".join(character for character in stem if character.isalnum() or character in "-_")
    return kept[:_LONGEST_NAME] or None
