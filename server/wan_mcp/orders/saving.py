"""From a task that succeeded to its files: each image once, checked, and never over another file."""

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import anyio

from wan_mcp.clock import utc
from wan_mcp.ledger import ImageState, Order, OrderImage, Stage
from wan_mcp.orders.books import TRIED_AGAIN, Books, LeaseLostError, hindrance
from wan_mcp.orders.notes import describe
from wan_mcp.orders.outcomes import DAY, closed, image_records, is_over
from wan_mcp.orders.pacing import backoff
from wan_mcp.orders.parts import Parts
from wan_mcp.orders.queries import Queries
from wan_mcp.orders.wishes import Wish, Wishes
from wan_mcp.storage import ImageFacts, Storage
from wan_mcp_tools.domain.errors import AppError, DownloadError, LinkExpiredError
from wan_mcp_tools.domain.tasks import Problem, TaskStatus

_log = logging.getLogger(__name__)


class Saver:
    """
    Puts the images of an order on disk.

    The name of a file is in the ledger before the file has it, with the digest of its bytes: a process that finds
    the row later knows whether the file there is the image, and never makes a second one.
    """

    def __init__(self, parts: Parts, books: Books, queries: Queries) -> None:
        self._parts = parts
        self._books = books
        self._queries = queries
        self.wishes = Wishes()

    async def save(self, order: Order) -> Order:
        """Take a succeeded order to CLOSED; until then every image is tried again as long as its link lives."""
        timings = self._parts.timings
        rounds = 0
        while order.stage is Stage.OPEN:
            rounds += 1
            images = await self._round(order, attempts=timings.save_attempts if rounds == 1 else 1)
            images = await self._renew_links(order, images)
            # A link that is over was given up above; that our clock alone says so is believed a day later.
            if is_over(order, self._parts.clock.now() - DAY):
                images = [image if image.state.is_settled else _given_up(image) for image in images]
            order = await self._settle(order, images)
            if order.stage is Stage.OPEN and not (rounds == 1 and _has_new_link(order)):
                pause = backoff(rounds, timings.save_again, timings.save_again_most)
                await self._parts.news.pause(order.local_id, pause)
        return order

    async def _round(self, order: Order, *, attempts: int) -> list[OrderImage]:
        """Try every image that is not settled, side by side."""
        images = {image.index: image for image in order.images}
        busy = {image.index for image in order.images if not image.state.is_settled}

        async def work(image: OrderImage) -> None:
            images[image.index] = saved = await self._save(order, image, attempts)
            busy.discard(image.index)
            if busy and saved.state is ImageState.SAVED:
                # The others may take long, and this one is a file. What comes last is written with the order's end.
                await self._write_note(order, saved)
                await self._books.advance(order, {}, [saved])

        open_images = [image for image in order.images if not image.state.is_settled]
        try:
            if len(open_images) == 1:
                await work(open_images[0])
            else:
                async with anyio.create_task_group() as group:
                    for image in open_images:
                        group.start_soon(work, image)
        except* LeaseLostError:
            raise LeaseLostError from None
        return [images[image.index] for image in order.images]

    async def _settle(self, order: Order, images: Sequence[OrderImage]) -> Order:
        changes: dict[str, object] = {}
        if all(image.state.is_settled for image in images):
            changes["stage"] = Stage.CLOSED
            if all(image.state is ImageState.FAILED for image in images):
                lost = next((image for image in images if image.code == "Expired"), None)
                first = lost or images[0]
                problem = Problem(first.code or "Failed", first.message or "No image could be made.")
                changes |= closed(problem, TaskStatus.EXPIRED if lost else TaskStatus.FAILED)
            elif self._parts.news.is_waited_for(order.local_id):
                changes["delivered_at"] = self._parts.clock.now()
        if "delivered_at" in changes:
            # Somebody waits for these files, and they are there: the ledger and the notes need not be waited for.
            self._books.announce(order, changes, images)
        await self._write_notes(order, images)
        return await self._books.advance(order, changes, images)

    async def _write_notes(self, order: Order, images: Sequence[OrderImage]) -> None:
        """Put a JSON file beside each image that was saved in this round."""
        before = {image.index: image.state for image in order.images}
        for image in images:
            if image.state is ImageState.SAVED and before[image.index] is not ImageState.SAVED:
                await self._write_note(order, image)

    async def _write_note(self, order: Order, image: OrderImage) -> None:
        path = Path(image.path or "")
        try:
            note = describe(order, image, self._parts.clock.now())
            await self._gallery(order, path.parent).write_sidecar(path, note, order_id=order.local_id)
        except AppError as error:
            # The picture is what was paid for; the note about it is not worth a second try.
            _log.warning("no note could be written beside %s: %s", path, error)

    def _gallery(self, order: Order, folder: Path | None = None) -> Storage:
        # The folder was confined when the order or the wish came; what was allowed then is allowed for it now.
        home = folder or (Path(order.folder) if order.folder else self._parts.settings.output_dir)
        return self._parts.storage.with_folder(home)

    async def _save(self, order: Order, image: OrderImage, attempts: int) -> OrderImage:
        """Try one image a few times; give it as SAVED, or as UNSAVED with the reason."""
        attempt = 0
        while True:
            attempt += 1
            wish = self.wishes.find(order.local_id, image.index)
            try:
                wish.saved = await self._save_once(order, image, wish)
            except AppError as error:
                wish.failure = failure = error
            else:
                return wish.saved
            finally:
                wish.tried.set()
            reason = hindrance(failure)
            unsaved = replace(image, state=ImageState.UNSAVED, code=reason.code, message=reason.message, path=None)
            lasting = isinstance(failure, DownloadError) and not failure.retryable
            if lasting or attempt >= attempts:
                return unsaved
            self._parts.news.trouble(order.local_id, hindrance(failure))
            await self._parts.clock.sleep(backoff(attempt, self._parts.timings.save_step, 8.0))

    async def _save_once(self, order: Order, image: OrderImage, wish: Wish) -> OrderImage:
        gallery = self._gallery(order, wish.folder)
        folder = await gallery.folder(None)
        owner = _file_owner(self._parts.owner)
        if order.version:
            # Only an order that was taken over can have left parts behind. They go before the look for the file:
            # whoever wrote them may only be slow, and without its part it can give the file no name any more.
            for place in {folder, Path(image.path).parent if image.path else folder}:
                await gallery.remove_temp_files(place, order_id=order.local_id, keep_owner=owner)
        if image.state is ImageState.STAGED and image.path and image.sha256:
            path = Path(image.path)
            if await gallery.matches(path, image.sha256):
                return _finished(image, await gallery.facts(path))
        async with gallery.draft(folder, order_id=order.local_id, index=image.index, owner=owner) as draft:
            await self._parts.dashscope.download(order.region, image.url or "", draft)
            facts = await draft.verify()
            stem = wish.stem or self._stem(order, image, gallery)
            while True:
                target = await draft.target(stem, facts.extension)
                staged = replace(image, state=ImageState.STAGED, path=str(target), sha256=facts.sha256)
                await self._books.advance(order, {}, [staged])
                if await draft.publish(target):
                    return _finished(staged, facts)

    def _stem(self, order: Order, image: OrderImage, gallery: Storage) -> str:
        request = json.loads(order.request or "{}")
        return gallery.stem(
            prompt=str(request.get("prompt") or order.actual_prompt or "image"),
            created_at=utc(order.created_at),
            order_id=order.best_id,
            index=image.index,
            count=max(len(order.images), order.images_ordered),
            filename=request.get("filename"),
        )

    async def _renew_links(self, order: Order, images: list[OrderImage]) -> list[OrderImage]:
        """Ask the task once more where a link is over: the answer brings a new one, or the image is gone."""
        if not any(_is_dead(image) for image in images):
            return images
        fresh: dict[int, OrderImage] = {}
        if order.task_id is not None:
            try:
                answer = await self._queries.ask(order.region, order.task_id)
            except AppError as error:
                # The images stay as they are, and the next round asks again.
                self._parts.news.trouble(order.local_id, hindrance(error))
                return images
            fresh = {image.index: image for image in image_records(answer)}
        return [_renewed(image, fresh.get(image.index)) if _is_dead(image) else image for image in images]


def _renewed(image: OrderImage, fresh: OrderImage | None) -> OrderImage:
    if fresh is not None and fresh.url is not None and fresh.url != image.url:
        return fresh
    return _given_up(image)


def _given_up(image: OrderImage) -> OrderImage:
    why = "" if _is_dead(image) or not image.message else f" The last attempt to save it: {image.message}"
    message = (
        f"The link to the image is over, and it was never saved.{why.replace(f' {TRIED_AGAIN}', '')} "
        "Order again if it is still wanted."
    )
    return replace(image, state=ImageState.FAILED, url=None, code="Expired", message=message)


def _has_new_link(order: Order) -> bool:
    return any(image.state is ImageState.WAITING for image in order.images)


def _finished(image: OrderImage, facts: ImageFacts) -> OrderImage:
    return replace(
        image,
        state=ImageState.SAVED,
        # The link is a secret for a day, and the image is a file now.
        url=None,
        width=facts.width,
        height=facts.height,
        bytes=facts.bytes,
        code=None,
        message=None,
    )


def _is_dead(image: OrderImage) -> bool:
    return image.state is ImageState.UNSAVED and image.code == LinkExpiredError.default_code


def _file_owner(owner: str) -> str:
    return owner.rpartition("/")[2]
