"""From a task that succeeded to its files: each image once, checked, and never over another file."""

import logging
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from wan_mcp.clock import Clock
from wan_mcp.dashscope import DashScope
from wan_mcp.ledger import DAY, ImageState, Order, OrderImage, Stage
from wan_mcp.orders import lifecycle
from wan_mcp.orders.context import Timings, backoff
from wan_mcp.orders.live_orders import LiveOrders, LiveProblem
from wan_mcp.orders.presentation import describe_image, name_image
from wan_mcp.orders.worker.queries import Queries
from wan_mcp.orders.worker.writer import LeaseLostError, OrderWriter
from wan_mcp.storage import Storage
from wan_mcp.storage.names import show_path
from wan_mcp_tools.domain.errors import AppError, DownloadError, RequestRefusedError, StorageError
from wan_mcp_tools.domain.tasks import Problem, tell_other_folder

_log = logging.getLogger(__name__)

_LONGEST_PAUSE = 8.0
"""Seconds between two attempts of one round."""


@dataclass(slots=True)
class SaveTarget:
    """
    Where a caller wants an image that is not saved yet: None means where the order wants it.

    `tried` is set when it was tried: then it is `saved`, or `failure` says why not.
    """

    folder: Path | None = None
    stem: str | None = None
    saved: OrderImage | None = None
    failure: AppError | None = None
    tried: anyio.Event = field(default_factory=anyio.Event)


class SaveTargets:
    """The targets that callers wait for, by order and index."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], SaveTarget] = {}

    @contextmanager
    def wanted(self, local_id: str, index: int, target: SaveTarget) -> Generator[None]:
        """Keep a target for as long as this is open; a later one for the same image takes its place."""
        self._open[local_id, index] = target
        try:
            yield
        finally:
            if self._open.get((local_id, index)) is target:
                del self._open[local_id, index]

    def find(self, local_id: str, index: int) -> SaveTarget:
        """Give the target for an image, or one that wants nothing."""
        return self._open.get((local_id, index)) or SaveTarget()

    def give_up(self, local_id: str) -> None:
        """Tell those who wait for an image of an order that nothing more is tried here."""
        for (wanted, _), target in self._open.items():
            if wanted == local_id:
                target.tried.set()


class Downloader:
    """
    Puts the images of an order on disk.

    The name of a file is in the ledger before the file has it, with the digest of its bytes: a process that finds
    the row later knows whether the file there is the image, and never makes a second one.
    """

    def __init__(
        self,
        dashscope: DashScope,
        storage: Storage,
        clock: Clock,
        *,
        live: LiveOrders,
        writer: OrderWriter,
        queries: Queries,
        timings: Timings,
        worker_id: str,
    ) -> None:
        self._dashscope = dashscope
        self._storage = storage
        self._clock = clock
        self._live = live
        self._writer = writer
        self._queries = queries
        self._timings = timings
        self._file_owner = worker_id.rpartition("/")[2]
        self.targets = SaveTargets()

    async def download(self, order: Order) -> Order:
        """Take a succeeded order to CLOSED; until then every image is tried again as long as its link lives."""
        timings = self._timings
        rounds = 0
        while order.stage is Stage.OPEN:
            rounds += 1
            order, images = await self._try_images(order, attempts=timings.save_attempts if rounds == 1 else 1)
            images = await self._renew_links(order, images)
            # A link that is over was given up above; that our clock alone says so is believed a day later.
            if lifecycle.is_over(order, self._clock.now() - DAY):
                images = [image if image.state.is_final else lifecycle.image_given_up(image) for image in images]
            order = await self._settle(order, images)
            if order.stage is Stage.OPEN and not (rounds == 1 and _has_new_link(order)):
                live = self._live.get(order.local_id)
                live.was_tried = True
                await live.pause(self._clock, backoff(rounds, timings.save_again, timings.save_again_most))
        return order

    async def _try_images(self, order: Order, *, attempts: int) -> tuple[Order, list[OrderImage]]:
        """Try every image that is not final, side by side; give the order as written, and the images as tried."""
        attempt = _Attempt(order, self._writer)
        images = {image.index: image for image in order.images}
        open_images = [image for image in order.images if not image.state.is_final]
        busy = {image.index for image in open_images}

        async def work(image: OrderImage) -> None:
            images[image.index] = saved = await self._save(attempt, image, attempts)
            busy.discard(image.index)
            if busy and saved.state is ImageState.SAVED:
                # The others may take long, and this one is a file. What comes last is written with the order's end.
                await self._write_sidecar(order, saved)
                await attempt.write(saved)

        try:
            if len(open_images) == 1:
                await work(open_images[0])
            else:
                async with anyio.create_task_group() as group:
                    for image in open_images:
                        group.start_soon(work, image)
        except* LeaseLostError:
            raise LeaseLostError from None
        return attempt.order, [images[image.index] for image in order.images]

    async def _settle(self, order: Order, images: Sequence[OrderImage]) -> Order:
        is_received = self._live.get(order.local_id).is_received
        after = lifecycle.images_tried(order, images, is_delivered=is_received, now=self._clock.now())
        if after.delivered_at != order.delivered_at:
            # Somebody waits for these files, and they are there: ledger and sidecars need not be waited for.
            self._writer.announce(after)
        before = {image.index: image.state for image in order.images}
        for image in images:
            if image.state is ImageState.SAVED and before[image.index] is not ImageState.SAVED:
                await self._write_sidecar(order, image)
        return await self._writer.save(order, after)

    async def _write_sidecar(self, order: Order, image: OrderImage) -> None:
        path = Path(image.path or "")
        try:
            facts = describe_image(order, image, self._clock.now())
            await self._storage.write_sidecar(path, facts, order_id=order.local_id)
        except AppError as error:
            # The picture is what was paid for; the facts about it are not worth a second try.
            _log.warning("no facts could be written beside %s: %s", show_path(path), error)

    async def _save(self, attempt: "_Attempt", image: OrderImage, attempts: int) -> OrderImage:
        """Try one image a few times; give it as SAVED, or as UNSAVED with the reason."""
        local_id = attempt.order.local_id
        count = 0
        while True:
            count += 1
            target = self.targets.find(local_id, image.index)
            try:
                target.saved = await self._save_once(attempt, image, target)
            except AppError as error:
                target.failure = failure = error
            except LeaseLostError:
                raise
            except Exception as error:  # noqa: BLE001 - what nobody thought of must not spoil the order's other images
                _log.exception("image %d of the order %s could not be saved", image.index, local_id)
                target.failure = failure = StorageError(f"The image could not be saved: {type(error).__name__}.")
            else:
                return target.saved
            finally:
                target.tried.set()
            problem = LiveProblem.of(failure)
            reason = Problem(problem.code, f"{problem.message} {problem.advice}".strip())
            unsaved = lifecycle.image_unsaved(image, reason)
            is_lasting = isinstance(failure, DownloadError) and not failure.retryable
            if is_lasting or count >= attempts:
                return unsaved
            self._live.get(local_id).set_problem(problem)
            await self._clock.sleep(backoff(count, self._timings.save_step, _LONGEST_PAUSE))

    async def _save_once(self, attempt: "_Attempt", image: OrderImage, target: SaveTarget) -> OrderImage:
        order, storage = attempt.order, self._storage
        folder = await self._find_folder(attempt, target)
        if order.version:
            # Only an order that was taken over can have left temporary files behind. They go before the look for the
            # file: whoever wrote them may only be slow, and without its own it can give the file no name any more.
            for place in {folder, Path(image.path).parent if image.path else folder}:
                with suppress(RequestRefusedError):
                    await storage.remove_temp_files(place, order_id=order.local_id, keep_owner=self._file_owner)
        if image.state is ImageState.PUBLISHING and image.path and image.sha256:
            path = Path(image.path)
            if await self._is_published(path, image.sha256):
                facts = await storage.read_facts(path)
                return lifecycle.image_saved(image, width=facts.width, height=facts.height, size=facts.bytes)
        async with storage.open_draft(
            folder, order_id=order.local_id, index=image.index, owner=self._file_owner
        ) as draft:
            await self._dashscope.download(order.region, image.url or "", draft)
            facts = await draft.verify()
            stem = target.stem or name_image(order, image.index)
            while True:
                path = await draft.find_target(stem, facts.extension)
                publishing = lifecycle.image_publishing(image, path=str(path), sha256=facts.sha256)
                await attempt.write(publishing)
                if await draft.publish(path):
                    return lifecycle.image_saved(publishing, width=facts.width, height=facts.height, size=facts.bytes)

    async def _find_folder(self, attempt: "_Attempt", target: SaveTarget) -> Path:
        """
        Give the folder that an image is to be saved in: the caller's, or that of the order if it is still allowed.

        The ledger is only a file, and settings change: what it says must hold now. The picture is paid for, so that
        the default folder takes the place of one that is not allowed.
        """
        if target.folder is not None:
            return await self._storage.find_known_folder(target.folder)
        wanted = attempt.order.folder
        if not wanted:
            return await self._storage.find_folder(None, owner=attempt.order.principal)
        try:
            return await self._storage.find_known_folder(Path(wanted))
        except RequestRefusedError:
            attempt.note(tell_other_folder(show_path(wanted)))
        except StorageError as error:
            if error.retryable:
                raise
            attempt.note(tell_other_folder(show_path(wanted)))
        return await self._storage.find_folder(None, owner=attempt.order.principal)

    async def _is_published(self, path: Path, sha256: str) -> bool:
        try:
            return await self._storage.matches(path, sha256)
        except RequestRefusedError:
            # A folder that is allowed no more is not looked into: the image is saved in another one.
            return False

    async def _renew_links(self, order: Order, images: list[OrderImage]) -> list[OrderImage]:
        """Ask the task once more where a link is over: the answer brings a new one, or the image is gone."""
        if not any(lifecycle.is_link_over(image) for image in images):
            return images
        renewed: dict[int, OrderImage] = {}
        if order.task_id is not None:
            try:
                answer = await self._queries.get_task(order.region, order.task_id, images=order.images_ordered)
            except AppError as error:
                # The images stay as they are, and the next round asks again.
                self._live.get(order.local_id).set_problem(LiveProblem.of(error))
                return images
            renewed = {image.index: image for image in lifecycle.make_images(answer.images)}
        return [
            _renew(image, renewed.get(image.index)) if lifecycle.is_link_over(image) else image for image in images
        ]


class _Attempt:
    """One round for the images of an order: the order as it was written last, though several images write."""

    def __init__(self, order: Order, writer: OrderWriter) -> None:
        self.order = order
        self._writer = writer
        self._notes: dict[str, None] = {}

    def note(self, note: str) -> None:
        """Have something said of the order from the next write on."""
        self._notes[note] = None

    async def write(self, image: OrderImage) -> None:
        """
        Write one image down.

        Raises:
            LeaseLostError: the order is ours no more.
        """
        before, self.order = self.order, lifecycle.with_notes(lifecycle.with_image(self.order, image), self._notes)
        await self._writer.save(before, self.order)


def _renew(image: OrderImage, fresh: OrderImage | None) -> OrderImage:
    if fresh is not None and fresh.url is not None and fresh.url != image.url:
        return fresh
    return lifecycle.image_given_up(image)


def _has_new_link(order: Order) -> bool:
    return any(image.state is ImageState.WAITING for image in order.images)
