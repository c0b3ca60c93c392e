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
class ModelRegion:
    """
    One model in one region: what callers name the region, and what is known of the model there.

    `submit_rate` is in orders a second for the whole account; `concurrency` counts the tasks that the service
    works on at once, further ones wait there as PENDING. `wire_id` is set where the region has its own spelling.
    """

    name: str
    protocols: tuple[WireProtocol, ...]
    submit_rate: float
    concurrency: int
    price: Price | None = None
    wire_id: str | None = None


@dataclass(frozen=True, slots=True)
class InputLimits:
    """
    The pictures that a model takes as input: `least` to `most` of them in an order.

    Each has at most `max_bytes` bytes, sides of `min_side` to `max_side` pixels, and is at most `max_ratio` times as
    long as wide. `formats` are the names that Pillow has for its kind: `PNG`, `JPEG`, `WEBP`, `BMP`, `TIFF`, `GIF`.
    `has_alpha` says whether it may be transparent.
    """

    least: int
    most: int
    max_bytes: int
    min_side: int
    max_side: int
    max_ratio: float
    formats: tuple[str, ...]
    has_alpha: bool = True


@dataclass(frozen=True, slots=True)
class Model:
    """
    One model: what callers name, where it is offered, and what it takes.

    Limits of prompts count characters. `negative_prompt_limit` is None, and `has_prompt_extend` False, where the
    parameter does not exist. `inputs` is None for a model that draws from words alone.
    """

    id: str
    regions: tuple[ModelRegion, ...]
    sizes: SizeRule
    prompt_limit: int
    negative_prompt_limit: int | None
    has_prompt_extend: bool
    max_n: int = 4
    aliases: tuple[str, ...] = ()
    note: str = ""
    inputs: InputLimits | None = None

    @property
    def region_names(self) -> tuple[str, ...]:
        """The names of the regions that offer the model, the sandbox last."""
        return tuple(region.name for region in self.regions)

    def in_region(self, name: str) -> ModelRegion:
        """
        Give what is known of the model in a region.

        Raises:
            RequestRefusedError: the region does not offer the model.
        """
        for region in self.regions:
            if region.name == name:
                return region
        raise RequestRefusedError(
            f"{self.id} is not offered in {name}.", f"Regions that offer it: {', '.join(self.region_names)}."
        )

    def wire_id(self, region: str) -> str:
        """Give the id that the service of this region knows."""
        return self.in_region(region).wire_id or self.id

    def choose_protocol(self, region: str, *, prefer_sync: bool) -> WireProtocol:
        """Choose how to order: by a task wherever there is one, since its id survives a broken connection."""
        offered = self.in_region(region).protocols
        tasks_first = (WireProtocol.ASYNC, WireProtocol.LEGACY, WireProtocol.SYNC)
        order = (WireProtocol.SYNC, *tasks_first) if prefer_sync else tasks_first
        return next(protocol for protocol in order if protocol in offered)

    def submit_rate(self, region: str) -> float:
        """Give the orders a second that the service takes in this region."""
        return self.in_region(region).submit_rate

    def price(self, region: str) -> Price | None:
        """Give the indicative price of one image, if one is known."""
        return next((each.price for each in self.regions if each.name == region), None)


def add_sandbox(regions: tuple[ModelRegion, ...]) -> tuple[ModelRegion, ...]:
    """Add the sandbox, which has every protocol of the model and its best documented limits."""
    protocols = [protocol for region in regions for protocol in region.protocols]
    sandbox = ModelRegion(
        SANDBOX.name,
        tuple(dict.fromkeys(protocols)),
        submit_rate=max(region.submit_rate for region in regions),
        concurrency=max(region.concurrency for region in regions),
    )
    return (*regions, sandbox)


def format_amount(amount: Decimal) -> str:
    """Write an amount with two decimals, or more where it has more."""
    whole, _, decimals = f"{amount:f}".partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"
