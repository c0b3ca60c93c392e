"""
A look-alike of the picture service for tests: it counts everything, forgets nothing, and fails on command.

Written from the public documentation alone; it knows nothing of the program under test. In process:

    with FakeService(duration=0.2) as service:
        service.script("create", "drop-after")
        ...
        assert service.paid_images() == 1

As a program: `python tests/fakes/dashscope_service.py --port 0 --options '{"duration": [0.2, 2]}'` prints one line of
JSON with its port when it is ready; `/_admin/state` and `/_admin/script` tell and set what the class would.
"""

import argparse
import asyncio  # noqa: TID251  the fake owns its loop and thread and must reach the bare transport
import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

if __name__ == "__main__":  # started as a program, whose own folder is on the path and not the one above
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fakes.dashscope_account import Ending, Task, read_ending
from fakes.dashscope_api import read_region
from fakes.dashscope_faults import Fault
from fakes.dashscope_orders import MODELS, Protocol, read_order
from fakes.dashscope_server import LoopbackServer
from fakes.dashscope_wire import Connection, Request, make_json
from fakes.dashscope_witness import Witness

_FOREIGN = {"model": "wan2.6-t2i", "prompt": "of another program", "n": 1, "size": "1280*1280"}


class FakeService(Witness):
    """
    The service on two loopback ports, one for calls and one for images.

    Options, also for `configure` (only `port`, `image_port`, `seed` and `clock` are fixed at the start):
    `keys` one key, {region: key}, or None for any; `region` whose catalogue `base_url` holds (None: every model);
    `duration` seconds or (low, high); `pending` seconds; `concurrency` tasks at once for each model;
    `list_lag` seconds until a task is listed; `list_zone` the hours of the list's time filter;
    `echo` whether the legacy protocol repeats the prompt;
    `result_shape` "choices" or "parts"; `link_seconds`, `record_seconds` lifetimes; `honour_range`;
    `image_padding` bytes; `creates_per_second`, `queries_per_second`; `foreign_every` seconds between tasks of another
    program, `foreign_order` their parameters; `words` {text in the prompt: ending}.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        image_port: int = 0,
        seed: int = 0,
        clock: Callable[[], float] = time.time,
        **options: Any,
    ) -> None:
        handlers = {"api": (port, self._answer_call), "image": (image_port, self._answer_image)}
        self._server = LoopbackServer(handlers, self._make_foreign_tasks)
        self._clock, self._offset = clock, 0.0
        super().__init__(seed, self.now)
        self.foreign_every: float | None = None
        self.foreign_order: dict[str, Any] = {}
        self.configure(**options)

    # Life

    def start(self) -> Self:
        """Bind both ports and serve from a thread; a client may connect as soon as this returns."""
        self._server.start()
        self.images.host = f"127.0.0.1:{self._server.ports['image']}"
        return self

    def stop(self) -> None:
        """
        Close every connection and end the thread; this waits, so call it from no event loop of your own.

        Raises: RuntimeError when the fake itself failed: what the clients saw proves nothing then.
        """
        self._server.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # Addresses and time

    @property
    def port(self) -> int:
        """The port of the calls."""
        return self._server.ports["api"]

    @property
    def base_url(self) -> str:
        """The address of the calls, ending in /api/v1."""
        return f"http://127.0.0.1:{self.port}/api/v1"

    def base_url_of(self, region: str) -> str:
        """The address of one region, by its name or id; it holds that region's key and catalogue."""
        return f"http://127.0.0.1:{self.port}/{region}/api/v1"

    @property
    def image_host(self) -> str:
        """Host and port of the images."""
        return self.images.host

    def now(self) -> float:
        """The service's time, seconds since 1970."""
        return self._clock() + self._offset

    def advance(self, seconds: float) -> None:
        """Move the service's time forward (or, for a wrong clock, back)."""
        self._offset += seconds

    def describe(self, *, requests: bool = True) -> dict[str, Any]:
        """Answer everything as JSON values; `requests` False leaves out the long log of requests."""
        where = {"base_url": self.base_url, "image_host": self.image_host, "errors": list(self._server.errors)}
        return {**where, **super().describe(requests=requests)}

    # What to do

    def configure(self, **options: Any) -> None:
        """
        Set options at any moment.

        Raises: ValueError for an option that does not exist.
        """
        words = options.pop("words", {})
        for name, value in options.items():
            owner = next((each for each in (self.account, self.images, self.api) if name in _options_of(each)), self)
            if owner is self and name not in {"foreign_every", "foreign_order"}:
                raise ValueError(f"the fake service has no option {name!r}")
            setattr(owner, name, value)
        self.account.words |= {word: read_ending(spec) for word, spec in words.items()}

    def script(self, place: str, *faults: str | Mapping[str, Any] | Fault) -> None:
        """Let the next requests of "create", "query", "list", "cancel" or "image" go wrong, one fault each."""
        self.faults.add(place, *faults)

    def set_chance(self, place: str, probability: float, *faults: str | Mapping[str, Any] | Fault) -> None:
        """Let requests without a queued fault go wrong with this probability; 0 ends it."""
        self.faults.set_chance(place, probability, faults)

    def script_endings(self, *endings: str | Mapping[str, Any] | Ending) -> None:
        """Choose how the next tasks of the client end, one each."""
        self.account.endings.extend([read_ending(each) for each in endings])

    def create_foreign(self, *, region: str | None = None, age: float = 0.0, **order: Any) -> Task:
        """Create a task of another program on the account, `age` seconds ago."""
        wish = {**_FOREIGN, **self.foreign_order, **order}
        protocol: Protocol = "legacy" if "legacy" in MODELS[wish["model"]].protocols else "async"
        given: dict[str, Any] = {"prompt": wish["prompt"]}
        if protocol == "async":
            given = {"messages": [{"role": "user", "content": [{"text": wish["prompt"]}]}]}
        parameters = {key: value for key, value in wish.items() if key not in {"model", "prompt"}}
        body = {"model": wish["model"], "input": given, "parameters": parameters}
        spot = read_region(region) if region else self.api.home
        return self.account.create(read_order(protocol, body), protocol, spot, "foreign", age=age)

    def apply(self, orders: Mapping[str, Any]) -> None:
        """
        Do what a body of POST /_admin/script says.

        Keys: `clear`, `options`, `faults` {place: [fault]}, `chances` {place: {"probability", "faults"}}, `endings`
        [ending], `words` {text: ending}, `foreign` [order], `advance` seconds.
        Raises: ValueError, TypeError or KeyError for what cannot be read.
        """
        known = {"clear", "options", "faults", "chances", "endings", "words", "foreign", "advance"}
        if unknown := set(orders) - known:
            raise ValueError(f"no such orders: {sorted(unknown)}; there are {sorted(known)}")
        if orders.get("clear"):
            self.faults.clear()
        self.configure(**orders.get("options", {}), words=orders.get("words", {}))
        for place, faults in orders.get("faults", {}).items():
            self.script(place, *faults)
        for place, chance in orders.get("chances", {}).items():
            self.set_chance(place, chance["probability"], *chance["faults"])
        self.script_endings(*orders.get("endings", []))
        for order in orders.get("foreign", []):
            self.create_foreign(**order)
        self.advance(orders.get("advance", 0.0))

    # Serving

    async def _answer_call(self, connection: Connection, request: Request, number: int, nth: int) -> bool:
        connection.now, connection.elsewhere = self.now, f"http://{self.image_host}/elsewhere"
        if request.path.startswith("/_admin/"):
            return await self._administer(connection, request)
        self.note_call(request, number, nth)
        return await self.api.handle(connection, request)

    async def _answer_image(self, connection: Connection, request: Request, number: int, nth: int) -> bool:
        connection.now = self.now
        self.note_image(request, number, nth)
        return await self.images.handle(connection, request)

    async def _administer(self, connection: Connection, request: Request) -> bool:
        match request.method, request.path:
            case "GET", "/_admin/state":
                return await connection.send(
                    make_json(200, self.describe(requests=request.query.get("requests") != "0"))
                )
            case "POST", "/_admin/script":
                try:
                    self.apply(json.loads(request.body))
                except (ValueError, TypeError, KeyError) as error:
                    return await connection.send(make_json(400, {"error": repr(error)}))
                return await connection.send(make_json(200, {}))
            case _:
                return await connection.send(make_json(404, {"error": "there are /_admin/state and /_admin/script"}))

    async def _make_foreign_tasks(self) -> None:
        waited = 0.0
        while True:
            step = min(self.foreign_every or 0.1, 0.1)
            await asyncio.sleep(step)
            waited = waited + step if self.foreign_every else 0.0
            if self.foreign_every and waited >= self.foreign_every:
                waited = 0.0
                self.create_foreign()


def _options_of(owner: object) -> set[str]:
    """Answer the names of plain settings: public, and neither logs nor records."""
    held = {"tasks", "endings", "words", "served", "host", "now", "creates", "queries"}
    return {name for name in vars(owner) if not name.startswith("_")} - held


def main() -> None:
    """Serve until killed, or until standard input ends if told so."""
    parser = argparse.ArgumentParser(description="A look-alike of the picture service, with faults on command.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--image-port", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--options", type=json.loads, default={}, help="JSON of FakeService options")
    parser.add_argument("--script", type=json.loads, default={}, help="JSON as POST /_admin/script takes it")
    parser.add_argument("--end-with-stdin", action="store_true", help="end when standard input does")
    arguments = parser.parse_args()
    service = FakeService(
        port=arguments.port, image_port=arguments.image_port, seed=arguments.seed, **arguments.options
    )
    service.apply(arguments.script)
    service.start()
    ready = {"port": service.port, "base_url": service.base_url, "image_host": service.image_host}
    print(json.dumps({**ready, "image_port": int(service.image_host.rpartition(":")[2])}), flush=True)
    if arguments.end_with_stdin:
        sys.stdin.read()
        service.stop()
    else:
        threading.Event().wait()


if __name__ == "__main__":
    main()
