"""Images that are not where they should be: not saved yet, or gone since."""

from pathlib import Path

from wan_mcp.clock import utc
from wan_mcp.ledger import ImageState, Order, OrderImage
from wan_mcp.orders.following import Follower
from wan_mcp.orders.notes import describe
from wan_mcp.orders.outcomes import is_over
from wan_mcp.orders.parts import Parts
from wan_mcp.orders.wishes import Wish
from wan_mcp_tools.domain.errors import AppError, NotFoundError


class Fetcher:
    """Gets images anew for a caller who asks for them; nothing else brings back a file that a person removed."""

    def __init__(self, parts: Parts, follower: Follower) -> None:
        self._parts = parts
        self._follower = follower

    async def save(self, order: Order, image: OrderImage, folder: Path | None, stem: str | None) -> OrderImage:
        """
        Save an image that could not be saved so far, once, where the caller wants it.

        Raises:
            AppError: it still cannot be saved; the background goes on trying.
        """
        wish = Wish(folder, stem)
        await self._follower.save_as(order, image.index, wish)
        if wish.saved is not None:
            return wish.saved
        # Whoever worked on the order may have been about to save it where the order wants it.
        latest = await self._parts.ledger.get(order.local_id) or order
        saved = [known for known in latest.images if known.index == image.index and known.state is ImageState.SAVED]
        if saved:
            return saved[0]
        raise wish.failure or NotFoundError(
            f"Image {image.index} of the task {order.best_id} could not be saved at this moment.",
            "Call again in a moment.",
            code="ImageNotFound",
        )

    async def gone(self, order: Order) -> dict[int, str]:
        """Say of each saved image whose file is no longer there what became of it."""
        paths = [Path(image.path) for image in order.images if image.state is ImageState.SAVED and image.path]
        missing = {str(path) for path in await self._parts.storage.missing(paths)}
        return {image.index: self._explain(order, image) for image in order.images if image.path in missing}

    async def again(self, order: Order, image: OrderImage, folder: Path | None, stem: str | None) -> OrderImage:
        """
        Fetch a saved image whose file is gone once more: where it was, unless the caller wants it elsewhere.

        Raises:
            NotFoundError: the service does not have it any more.
            AppError: it cannot be fetched or written now.
        """
        before = Path(image.path or "")
        gallery = self._parts.storage.with_folder(folder or before.parent)
        home = await gallery.folder(None)
        url = await self._new_link(order, image)
        owner = self._parts.owner.rpartition("/")[2]
        async with gallery.draft(home, order_id="again", index=image.index, owner=f"{owner}{id(url):x}") as draft:
            await self._parts.dashscope.download(order.region, url, draft)
            facts = await draft.verify()
            target = home / f"{stem or before.stem}{facts.extension}"
            # Its own note may still lie there, so the name is free though its note is not.
            if not (target == before and await draft.publish(target)):
                target = await draft.target(stem or before.stem, facts.extension)
                while not await draft.publish(target):
                    target = await draft.target(stem or before.stem, facts.extension)
        found = OrderImage(
            image.index,
            ImageState.SAVED,
            path=str(target),
            width=facts.width,
            height=facts.height,
            bytes=facts.bytes,
            sha256=facts.sha256,
        )
        await self._parts.ledger.relocate(order.local_id, found)
        await gallery.write_sidecar(target, describe(order, found, self._parts.clock.now()), order_id=order.local_id)
        return found

    async def _new_link(self, order: Order, image: OrderImage) -> str:
        reason = NotFoundError(self._explain(order, image), "Order again if it is still wanted.", code="FileGone")
        if order.task_id is None or is_over(order, self._parts.clock.now()):
            raise reason
        try:
            answer = await self._follower.queries.ask(order.region, order.task_id)
        except AppError as error:
            raise NotFoundError(
                f"{self._gone(image)} The service could not be asked for it: {error.message}",
                error.advice or "Call again in a moment.",
                code="FileGone",
            ) from error
        url = next((found.url for found in answer.images if found.index == image.index), None)
        if url is None:
            raise reason
        return url

    def _explain(self, order: Order, image: OrderImage) -> str:
        if order.task_id is None:
            return f"{self._gone(image)} The synchronous protocol keeps no task to fetch it from again."
        if order.expires_at is None or is_over(order, self._parts.clock.now()):
            return f"{self._gone(image)} The service keeps images for 24 hours and has it no longer."
        until = utc(order.expires_at).isoformat(timespec="seconds")
        return (
            f"{self._gone(image)} If it is wanted, download_image with task_id={order.task_id} and "
            f"index={image.index} fetches it again, free of charge, until {until}."
        )

    @staticmethod
    def _gone(image: OrderImage) -> str:
        return f"It was saved as {image.path}, and that file has been moved or deleted since."
