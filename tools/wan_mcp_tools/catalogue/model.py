"""One model as data: where it is offered, by which protocols, what it takes and what it costs."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from wan_mcp_tools.catalogue.regions import SANDBOX
from wan_mcp_tools.catalogue.sizes import SizeRule
from wan_mcp_tools.domain.errors import RequestRefusedError

EXTRA_MODELS_SETTING = "WAN_MCP_EXTRA_MODELS"
"""The setting that adds models to these."""


class WireProtocol(StrEnum):
    """The service's three ways to order an image."""

    SYNC = "sync"
    """One call that answers with the image."""
    ASYNC = "async"
    """A task, created and queried in the newer shape."""
    LEGACY = "legacy"
    """A task, created and queried in the older shape."""


@dataclass(frozen=True, slots=True)
class Price:
    """What one image cost on the day `as_of` (year-month): a hint for people, and so is every sum of it."""

    amount: Decimal
    currency: str
    as_of: str


@dataclass(frozen=True, slots=True)
class Place:
    """
    One model in one region.

    `submit_rate` is in orders a second for the whole account; `concurrency` counts the tasks that the service
    works on at once, further ones wait there as PENDING. `wire_id` is set where the region has its own spelling.
    """

    region: str
    protocols: tuple[WireProtocol, ...]
    submit_rate: float
    concurrency: int
    price: Price | None = None
    wire_id: str | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """
    One model: what callers name, where it is offered, and what it takes.

    Limits of prompts count characters. `negative_prompt_limit` is None, and `has_prompt_extend` False, where the
    parameter does not exist.
    """

    id: str
    places: tuple[Place, ...]
    sizes: SizeRule
    prompt_limit: int
    negative_prompt_limit: int | None
    has_prompt_extend: bool
    max_n: int = 4
    aliases: tuple[str, ...] = ()
    note: str = ""

    @property
    def regions(self) -> tuple[str, ...]:
        """The names of the regions that offer the model, the sandbox last."""
        return tuple(place.region for place in self.places)

    def place(self, region: str) -> Place:
        """
        Give what is known of the model in a region.

        Raises:
            RequestRefusedError: the region does not offer the model.
        """
        for place in self.places:
            if place.region == region:
                return place
        raise RequestRefusedError(
            f"{self.id} is not offered in {region}.", f"Regions that offer it: {', '.join(self.regions)}."
        )

    def wire_id(self, region: str) -> str:
        """Give the id that the service of this region knows."""
        return self.place(region).wire_id or self.id

    def protocol(self, region: str, *, prefer_sync: bool) -> WireProtocol:
        """Choose how to order: by a task wherever there is one, since its id survives a broken connection."""
        offered = self.place(region).protocols
        tasks_first = (WireProtocol.ASYNC, WireProtocol.LEGACY, WireProtocol.SYNC)
        order = (WireProtocol.SYNC, *tasks_first) if prefer_sync else tasks_first
        return next(protocol for protocol in order if protocol in offered)

    def submit_rate(self, region: str) -> float:
        """Give the orders a second that the service takes in this region."""
        return self.place(region).submit_rate

    def price(self, region: str) -> Price | None:
        """Give the indicative price of one image, if one is known."""
        return next((place.price for place in self.places if place.region == region), None)


def add_sandbox(places: tuple[Place, ...]) -> tuple[Place, ...]:
    """Add the sandbox, which has every protocol of the model and its best documented limits."""
    protocols = [protocol for place in places for protocol in place.protocols]
    sandbox = Place(
        SANDBOX.name,
        tuple(dict.fromkeys(protocols)),
        submit_rate=max(place.submit_rate for place in places),
        concurrency=max(place.concurrency for place in places),
    )
    return (*places, sandbox)


def tell_amount(amount: Decimal) -> str:
    """Write an amount with two decimals, or more where it has more."""
    whole, _, decimals = f"{amount:f}".partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"
