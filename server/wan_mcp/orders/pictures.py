"""Images for a caller: under a name of its choice, or small enough to look at."""

from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from wan_mcp.ledger import ImageState, Order, OrderImage, Stage
from wan_mcp.orders.fetching import Fetcher
from wan_mcp.orders.parts import Parts
from wan_mcp_tools.domain.errors import FolderNotAllowedError, NotFoundError, RequestRefusedError
from wan_mcp_tools.domain.service import Picture, Preview
from wan_mcp_tools.domain.tasks import SavedImage


class Pictures:
    """Copies, fetches and shrinks images; never orders one."""

    def __init__(self, parts: Parts, fetcher: Fetcher) -> None:
        self._parts = parts
        self._fetcher = fetcher

    async def place(self, order: Order, index: int, output_dir: str | None, filename: str | None) -> SavedImage:
        """Put an image of an order where the caller wants it; without a wish, say where it is."""
        image = find_image(order, index)
        gallery = self._parts.storage
        name = gallery.check_filename(filename)
        try:
            folder = await gallery.folder(output_dir) if output_dir else None
        except FolderNotAllowedError as error:
            if image.state is not ImageState.SAVED or await gallery.missing([Path(image.path or "")]):
                raise
            advice = f"The image is already saved as {image.path}: copy that file there. {error.advice}"
            raise FolderNotAllowedError(error.message, advice) from error
        if image.state is ImageState.FAILED or (image.url is None and image.state is not ImageState.SAVED):
            raise NotFoundError(
                f"Image {index} of the task {order.best_id} was not made: {image.message or image.code}",
                "Order again if the picture is still wanted.",
                code="ImageNotFound",
            )
        if image.state is not ImageState.SAVED:
            image = await self._fetcher.save(order, image, folder, name)
        elif await gallery.missing([Path(image.path or "")]):
            image = await self._fetcher.again(order, image, folder, name)
        source = Path(image.path or "")
        if folder in (None, source.parent) and name is None:
            facts = await gallery.facts(source)
            return SavedImage(index, str(source), facts.width, facts.height, facts.bytes)
        path, facts = await gallery.copy(source, folder or source.parent, name)
        return SavedImage(index, str(path), facts.width, facts.height, facts.bytes)

    async def fetch(
        self, url: str, region: str, index: int, output_dir: str | None, filename: str | None
    ) -> SavedImage:
        """Fetch a result by its link into a folder; the same bytes under the same name are not written twice."""
        gallery = self._parts.storage
        stem = gallery.check_filename(filename) or gallery.check_filename(_name_in(url)) or "image"
        folder = await gallery.folder(output_dir)
        owner = self._parts.owner.rpartition("/")[2]
        async with gallery.draft(folder, order_id="download", index=index, owner=f"{owner}-{id(url):x}") as draft:
            await self._parts.dashscope.download(region, url, draft)
            facts = await draft.verify()
            wanted = folder / f"{stem}{facts.extension}"
            if await gallery.matches(wanted, facts.sha256):
                return SavedImage(index, str(wanted), facts.width, facts.height, facts.bytes)
            while True:
                target = await draft.target(stem, facts.extension)
                if await draft.publish(target):
                    return SavedImage(index, str(target), facts.width, facts.height, facts.bytes)

    async def preview(self, order: Order | None, index: int, path: str | None) -> Preview:
        """Give a small picture of a saved image."""
        gallery = self._parts.storage
        if order is None:
            return await gallery.preview(await gallery.readable(path or ""))
        return await gallery.preview(await self._find_file(order, index))

    async def picture(self, order: Order, index: int, most_bytes: int) -> Picture:
        """Give a saved image: the file's own bytes if they are at most `most_bytes`, else a small picture of it."""
        gallery = self._parts.storage
        path = await self.find_readable(order, index)
        data, facts = await gallery.read(path)
        file = SavedImage(index, str(path), facts.width, facts.height, facts.bytes)
        if facts.bytes <= most_bytes:
            return Picture(data, facts.mime_type, file, reduced=False)
        small = await gallery.preview(path)
        return Picture(small.data, small.mime_type, file, reduced=True)

    async def find_readable(self, order: Order, index: int) -> Path:
        """
        Find the file of a saved image, in an allowed folder.

        Raises:
            NotFoundError: there is no such image, it is not saved, or its file is gone.
            FolderNotAllowedError: it lies outside the folders that are allowed now.
        """
        return await self._parts.storage.readable(str(await self._find_file(order, index)))

    async def _find_file(self, order: Order, index: int) -> Path:
        saved = Path(_find_saved(order, index))
        gone = await self._fetcher.gone(order)
        if index in gone:
            raise NotFoundError(gone[index], code="FileGone")
        return saved


def _find_saved(order: Order, index: int) -> str:
    image = find_image(order, index)
    if image.state is not ImageState.SAVED or not image.path:
        unsaved = NotFoundError(
            f"Image {index} of the task {order.best_id} is not saved.",
            f"Call get_task with task_id={order.best_id} to see why.",
            code="ImageNotFound",
        )
        unsaved.retryable = image.state is not ImageState.FAILED
        raise unsaved
    return image.path


def find_image(order: Order, index: int) -> OrderImage:
    """
    Find an image of an order.

    Raises:
        NotFoundError: the order has no such image, or none yet.
    """
    for image in order.images:
        if image.index == index:
            return image
    if not order.images and order.stage is Stage.CLOSED:
        reason = order.error_message or f"The task is {order.status}."
        raise NotFoundError(f"The task {order.best_id} has no images: {reason}", code="ImageNotFound")
    if not order.images:
        early = NotFoundError(
            f"The task {order.best_id} is {order.status} and has no images yet.",
            f"Call get_task with task_id={order.best_id} and wait_seconds=45 first.",
            code="ImageNotFound",
        )
        early.retryable = True
        raise early
    indexes = ", ".join(str(image.index) for image in order.images)
    raise RequestRefusedError(f"The task {order.best_id} has no image {index}.", f"Its images are: {indexes}.")


def _name_in(url: str) -> str | None:
    stem = PurePosixPath(urlsplit(url).path).stem
    kept = "".join(character for character in stem if character.isalnum() or character in "-_")
    return kept[:60] or None
