"""From an order that is written down to one that the service has answered."""

from collections import defaultdict
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

import anyio

from wan_mcp.clock import Clock
from wan_mcp.concurrency import wait_any, wait_first
from wan_mcp.dashscope import CreateOrder, DashScope, EncodedOrder, TaskAnswer
from wan_mcp.ledger import Dispatch, Ledger, Order, RateLimit, Slot, Stage
from wan_mcp.orders import lifecycle
from wan_mcp.orders.context import NO_OBSERVERS, Observers, Timings, backoff
from wan_mcp.orders.inputs import InputSender, SentInputs
from wan_mcp.orders.live_orders import LiveOrders, LiveProblem
from wan_mcp.orders.worker.queries import ClockOffsets
from wan_mcp.orders.worker.writer import LeaseLostError, OrderWriter
from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.catalogue.model import Model, WireProtocol
from wan_mcp_tools.domain.errors import AppError, ErrorCode, NotConnectedError, StorageError, ThrottledError
from wan_mcp_tools.domain.requests import ImageRequest
from wan_mcp_tools.domain.tasks import Problem

_SLOT_CHECK = 0.1
"""Seconds between looks at a slot that is taken."""
_LONGEST_IDLE = 8.0
"""Seconds that an open connection waits for the turn of its order: one that waits longer may be closed any moment."""
_LONGEST_THROTTLE, _LONGEST_CONNECT = 30.0, 8.0
"""Seconds between two attempts at most."""
_READING = LiveProblem(
    ErrorCode.QUEUED, "The pictures of the order are being read and handed over.", is_retried=False
)
_UNSENT = "The order was not sent and nothing is charged for it."
_QUEUED = LiveProblem(ErrorCode.QUEUED, "The order waits for its turn to be sent.", is_retried=False)


def make_dispatch(order: Order, catalogue: Catalogue, timings: Timings) -> Dispatch:
    """
    Say what an order needs to be sent: a turn, and a slot where a lost answer could only be matched by its time.

    The legacy protocol's tasks repeat the prompt, by which a lost one is known among any number of others; the
    synchronous protocol has no tasks to be found.
    """
    model = catalogue.find(order.model or "")
    limit = RateLimit(f"create/{order.region}/{order.wire_model}", model.submit_rate(order.region))
    if order.protocol in (WireProtocol.SYNC, WireProtocol.LEGACY):
        return Dispatch(None, limit)
    name = f"create/{order.region}/{order.account}/{order.wire_model}"
    return Dispatch(Slot(name, timings.submit_slot_seconds), limit)


class _NotReadableError(Exception):
    """Carries why the pictures of an order cannot be sent."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.problem = problem


class _IdleTooLongError(Exception):
    """Raised where an open connection has waited long enough for the turn of its order."""


class _Attempt:
    """One attempt to send an order: the order as it is now, since when it waits, and whether its turn has come."""

    def __init__(self, order: Order, began_at: float) -> None:
        self.order = order
        self.began_at = began_at
        self.has_turn = anyio.Event()
        if order.stage is Stage.SENDING:
            self.has_turn.set()


class _NoTurnError(Exception):
    """Raised where an order is no longer to be sent."""


class Submitter:
    """
    Sends orders, each at most once.

    Only a connection that never opened and a rate-limit refusal are followed by another attempt: both prove that
    nothing was created. Where the service does not repeat the prompt, there is one unanswered order at a time for
    each region, key and model, so that a lost answer can be matched to its task by time alone.
    """

    def __init__(
        self,
        ledger: Ledger,
        dashscope: DashScope,
        clock: Clock,
        *,
        live: LiveOrders,
        writer: OrderWriter,
        catalogue: Catalogue,
        timings: Timings,
        clock_offsets: ClockOffsets,
        inputs: InputSender,
        observers: Observers = NO_OBSERVERS,
    ) -> None:
        self._inputs = inputs
        self._observers = observers
        self._ledger = ledger
        self._dashscope = dashscope
        self._clock = clock
        self._live = live
        self._writer = writer
        self._catalogue = catalogue
        self._timings = timings
        self._clock_offsets = clock_offsets
        self._queues: defaultdict[str, anyio.Lock] = defaultdict(anyio.Lock)
        self._answered: dict[str, anyio.Event] = {}

    def begin(self, order: Order) -> Order:
        """Give an order as it is when its creating request is about to leave."""
        return lifecycle.sending(order, clock_offset=self._clock_offsets.get(order.region))

    async def submit(self, order: Order) -> Order:
        """
        Take an order that was placed here from QUEUED, or just marked SENDING, to OPEN, LOST or CLOSED.

        Its pictures are read before its turn, and before it is marked: whatever is wrong with them, nothing was sent.
        """
        try:
            return await self._submit(order)
        finally:
            self._inputs.forget(order)

    async def _submit(self, order: Order) -> Order:
        started = self._clock.monotonic()
        number = 0
        while True:
            number += 1
            dispatch = make_dispatch(order, self._catalogue, self._timings)
            queue = dispatch.slot.name if dispatch.slot else dispatch.limit.name
            attempt = _Attempt(order, self._clock.monotonic())
            try:
                answer = await self._attempt(attempt, dispatch, queue)
            except _NotReadableError as error:
                return await self._writer.save(attempt.order, lifecycle.closed(attempt.order, error.problem))
            except _NoTurnError:
                return attempt.order
            except AppError as error:
                waited = self._clock.monotonic() - started
                order, pause = await self._handle_refusal(
                    attempt.order, error, dispatch, attempt=number, waited=waited
                )
                if order.stage is not Stage.QUEUED:
                    return order
                await self._clock.sleep(pause)
            else:
                now = self._clock.now()
                self._clock_offsets.learn(order.region, answer.served_at, now)
                accepted = lifecycle.accepted(attempt.order, answer, now=now)
                return await self._writer.accept(attempt.order, accepted, slot=dispatch.slot)
            finally:
                self._let_next(queue)

    def _let_next(self, queue: str) -> None:
        answered = self._answered.pop(queue, None)
        if answered is not None:
            answered.set()

    async def _read_inputs(self, order: Order) -> SentInputs:
        """
        Read an order's pictures, and upload them if they are large; a passing trouble of the network is sat out.

        Raises:
            _NotReadableError: that cannot be done.
        """
        live = self._live.get(order.local_id)
        has_files = order.request is not None and any(image.path for image in order.request.images)
        attempt = 0
        while True:
            attempt += 1
            if has_files:
                live.set_problem(_READING)
            try:
                inputs = await self._inputs.send(order)
            except AppError as error:
                if (
                    not error.retryable
                    or isinstance(error, StorageError)
                    or attempt >= self._timings.connect_attempts
                ):
                    raise _NotReadableError(Problem(error.code, f"{error} {_UNSENT}")) from error
                live.set_problem(LiveProblem.of(error))
                await self._clock.sleep(backoff(attempt, self._timings.retry_step, _LONGEST_CONNECT))
            else:
                live.set_problem(None)
                return inputs

    async def _attempt(self, attempt: _Attempt, dispatch: Dispatch, queue: str) -> TaskAnswer:
        """Wait for the turn of an order and send it, and keep the slot until it is answered."""
        answers: list[TaskAnswer] = []
        errors: list[Exception] = []
        slot, local_id = dispatch.slot, attempt.order.local_id

        async def send(scope: anyio.CancelScope) -> None:
            try:
                answers.append(await self._send(attempt, dispatch, queue))
            except (AppError, LeaseLostError, _NotReadableError, _NoTurnError) as error:
                errors.append(error)
            scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(send, group.cancel_scope)
            await attempt.has_turn.wait()
            while slot is not None:
                await self._clock.sleep(slot.seconds / 3)
                await self._writer.repeat(local_id, lambda: self._ledger.leases.take_slot(slot, local_id))
        if errors:
            raise errors[0]
        return answers[0]

    async def _send(self, attempt: _Attempt, dispatch: Dispatch, queue: str) -> TaskAnswer:
        """
        Send an order, once. One that stands in line opens its connection first, so that its turn is only the sending.

        Raises:
            _NotReadableError: its pictures cannot be sent.
            _NoTurnError: it is no longer to be sent.
            AppError: as the client's `create`.
        """
        order = attempt.order
        if order.stage is Stage.SENDING:
            return await self._dashscope.create(await self._encode(order, await self._inputs.send(order)))
        async with AsyncExitStack() as line:
            await line.enter_async_context(self._queues[queue])
            # Nothing here keeps its pictures: the answer may take minutes, and others wait beside it.
            encoded = await self._encode(order, await self._read_inputs(order))

            async def before() -> None:
                await self._take_turn(attempt, dispatch, queue)
                # The next in line may open its connection.
                await line.aclose()

            while True:
                try:
                    return await self._dashscope.create(encoded, before=before, before_seconds=_LONGEST_IDLE)
                except _IdleTooLongError:
                    continue

    async def _encode(self, order: Order, inputs: SentInputs) -> EncodedOrder:
        return await self._dashscope.encode(_make_create_order(order, inputs, self._catalogue))

    async def _take_turn(self, attempt: _Attempt, dispatch: Dispatch, queue: str) -> None:
        """
        Wait for the turn of an order, and write it as being sent.

        Raises:
            _IdleTooLongError: it has not come while a connection may be kept open.
            _NoTurnError: it is no longer to be sent; `attempt.order` is the order as it is.
        """
        order = attempt.order
        live = self._live.get(order.local_id)
        ends = self._clock.monotonic() + _LONGEST_IDLE
        while True:
            answered = self._answered.setdefault(queue, anyio.Event())
            freed_elsewhere = self._ledger.next_change(queue)

            async def begin() -> Order | float | None:
                return await self._ledger.orders.begin_sending(order, self.begin(order), dispatch)

            begun = await self._writer.repeat(order.local_id, begin)
            if begun is None:
                # Cancelled while it stood in line, or taken over: the ledger knows.
                attempt.order = await self._writer.save(order, order)
                raise _NoTurnError
            if isinstance(begun, Order):
                attempt.order = self._writer.announce(begun)
                attempt.has_turn.set()
                live.set_problem(None)
                self._observers.tell_wait("create", self._clock.monotonic() - attempt.began_at)
                return
            live.set_problem(_QUEUED)
            if self._clock.monotonic() >= ends:
                raise _IdleTooLongError
            # The slot may be another process's, and not every database tells that it was freed.
            arrival = partial(wait_any, answered, freed_elsewhere)
            await wait_first(self._clock, arrival, min(begun, _SLOT_CHECK))

    async def _handle_refusal(
        self, order: Order, error: AppError, dispatch: Dispatch, *, attempt: int, waited: float
    ) -> tuple[Order, float]:
        """Put an order that was certainly not created back in line or end it; mark any other as lost."""
        timings = self._timings
        if not error.nothing_created:
            return await self._writer.save(order, self._lose(order, error)), 0.0
        pause = 0.0
        if isinstance(error, ThrottledError) and waited < timings.throttle_patience:
            pause = error.retry_after or backoff(attempt, 2 * timings.throttle_step, _LONGEST_THROTTLE)
            await self._writer.repeat(order.local_id, lambda: self._ledger.limits.pause(dispatch.limit, pause))
        elif isinstance(error, NotConnectedError) and attempt < timings.connect_attempts:
            pause = backoff(attempt, timings.retry_step, _LONGEST_CONNECT)
        if pause:
            self._live.get(order.local_id).set_problem(LiveProblem.of(error))
            return await self._writer.save(order, lifecycle.requeued(order), slot=dispatch.slot), pause
        refused = lifecycle.closed(order, Problem(error.code, str(error)))
        return await self._writer.save(order, refused, slot=dispatch.slot), 0.0

    def _lose(self, order: Order, error: AppError) -> Order:
        # The slot is not freed: it ends by itself, which keeps the next order's window apart from this one's.
        now = self._clock.now()
        if order.protocol == WireProtocol.SYNC:
            return lifecycle.lost_for_good(order, error.message, now=now)
        return lifecycle.lost(order, Problem(error.code, error.message), now=now)


def _make_create_order(order: Order, inputs: SentInputs, catalogue: Catalogue) -> CreateOrder:
    request = order.request
    if request is None:
        raise ValueError(f"the order {order.local_id} has no request that could be sent")
    create_order = make_create_order(
        request,
        catalogue.find(request.model),
        region=order.region,
        protocol=WireProtocol(order.protocol or ""),
        model_id=order.wire_model or "",
    )
    return replace(create_order, images=inputs.addresses, options=inputs.options)


def make_create_order(
    request: ImageRequest, model: Model, *, region: str, protocol: WireProtocol, model_id: str
) -> CreateOrder:
    """Give a request as the wire needs it, yet without its input pictures."""
    return CreateOrder(
        region=region,
        protocol=protocol,
        model_id=model_id,
        prompt=request.prompt,
        size=request.size,
        n=request.n,
        negative_prompt=request.negative_prompt,
        seed=request.seed,
        prompt_extend=request.prompt_extend,
        watermark=request.watermark,
        has_n=model.has_n,
        options=request.options,
    )
