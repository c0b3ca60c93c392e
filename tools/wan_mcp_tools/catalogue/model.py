"""One model as data: where it is offered, by which protocols, what it takes and what it costs."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from enum import StrEnum
from typing import Any

from wan_mcp_tools.catalogue.options import Option
from wan_mcp_tools.catalogue.regions import SANDBOX
from wan_mcp_tools.catalogue.sizes import GRADES, SizeRule, read_grade, read_pixels
from wan_mcp_tools.domain.errors import RequestRefusedError
from wan_mcp_tools.domain.record import Record

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


class Price(Record):
    """
    What one image cost on the day `as_of` (year-month): a hint for people, and so is every sum of it.

    `large` is the amount for an image of more than `large_from` pixels, `extended` that for one whose prompt the
    service was told to rewrite; None where it is the same. `per_input` is added once for each input picture of an
    order. `source` is the page it was read from, or says that others than the service wrote it.
    """

    amount: Decimal
    currency: str
    as_of: str
    source: str = ""
    large: Decimal | None = None
    large_from: int = 0
    extended: Decimal | None = None
    per_input: Decimal = Decimal()

    @property
    def is_flat(self) -> bool:
        """Whether every image costs the same, however large and whatever it is made from."""
        return self.large is None and self.extended is None and not self.per_input

    def of_image(self, size: str | None, *, is_extended: bool = False) -> Decimal:
        """Give the amount for one image of a size, `W*H` or a grade; without a size, that of the larger ones."""
        if self.extended is not None and is_extended:
            return self.extended
        if self.large is None:
            return self.amount
        grade = read_grade(size)
        sides = (GRADES[grade], GRADES[grade]) if grade else read_pixels(size or "")
        # What the service chooses by itself has been seen to be large.
        return self.large if sides is None or sides[0] * sides[1] > self.large_from else self.amount


class ModelRegion(Record):
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


class InputLimits(Record):
    """
    The pictures that a model takes as input: `least` to `most` of them in an order.

    Each has at most `max_bytes` bytes, sides of `min_side` to `max_side` pixels, and is at most `max_ratio` times as
    long as wide, None where nothing is known of that. Where the sides are only advised, or that is what others than
    the service say, `advised_min_side` is the least of them: shorter ones are remarked on and sent. `formats` are the
    names that Pillow has for its kind: `PNG`, `JPEG`, `WEBP`, `BMP`, `TIFF`, `GIF`.
    `has_alpha` says whether it may be transparent.
    """

    least: int
    most: int
    max_bytes: int
    min_side: int
    max_side: int
    max_ratio: float | None
    formats: tuple[str, ...]
    has_alpha: bool = True
    advised_min_side: int = 0


class Mode(Record):
    """
    What holds in the place of the row's own where a switch among the options is on.

    `option` is that switch, and such an order is of at most `max_n` images; the model decides how many there are, up
    to `default_n` where nobody says otherwise. `count_option` is the parameter that tells the service how many, where
    it is not `n`: `n` is 1 on the wire then. `inputs` are the least and the most
    input pictures, None where they are the row's. `is_task_only` says that the synchronous protocol answers in a
    way of its own, so that it is not used.
    """

    option: str
    max_n: int
    default_n: int
    sizes: SizeRule
    count_option: str | None = None
    inputs: tuple[int, int] | None = None
    is_task_only: bool = False


class LengthUnit(StrEnum):
    """What the limit of a prompt counts."""

    CHARACTERS = "characters"
    TOKENS = "tokens"


class Model(Record):
    """
    One model: what callers name, where it is offered, and what it takes.

    `negative_prompt_limit` is None, and `has_…` False, where the parameter does not exist. `sizes` is None for a
    model that takes no size; `edit_sizes` holds in its place where there are input pictures, if it differs.
    `inputs` is None for a model that draws from words alone. `modes` and `options` are what only some models have.
    `usual_seconds` are those of one order until something was learned. `snapshots` are dated ids of the same row,
    which are sent as they were named; `aliases` are other spellings of the id. `is_prompt_limit_certain` says that
    the service's page counts so: what is longer is refused, elsewhere it is only remarked on. `is_second_hand`
    says that others than the service described the model.
    """

    id: str
    regions: tuple[ModelRegion, ...]
    sizes: SizeRule | None
    prompt_limit: int
    negative_prompt_limit: int | None
    has_prompt_extend: bool
    max_n: int = 4
    aliases: tuple[str, ...] = ()
    note: str = ""
    inputs: InputLimits | None = None
    edit_sizes: SizeRule | None = None
    modes: tuple[Mode, ...] = ()
    options: tuple[Option, ...] = ()
    has_n: bool = True
    has_seed: bool = True
    has_watermark: bool = True
    is_extended_by_default: bool = True
    usual_seconds: float = 60.0
    snapshots: tuple[str, ...] = ()
    prompt_unit: LengthUnit = LengthUnit.CHARACTERS
    is_prompt_limit_certain: bool = True
    is_second_hand: bool = False

    def find_mode(self, options: Mapping[str, Any]) -> Mode | None:
        """Find what holds with these options, where it is not the row's own."""
        return next((mode for mode in self.modes if options.get(mode.option) is True), None)

    def sizes_of(self, options: Mapping[str, Any], *, with_images: bool) -> SizeRule | None:
        """Give the sizes of such an order; None if it has none."""
        mode = self.find_mode(options)
        if mode is not None:
            return mode.sizes
        return self.edit_sizes if with_images and self.edit_sizes is not None else self.sizes

    def count_inputs(self, options: Mapping[str, Any]) -> tuple[int, int]:
        """Give the least and the most input pictures of such an order."""
        if self.inputs is None:
            return 0, 0
        mode = self.find_mode(options)
        return mode.inputs if mode is not None and mode.inputs is not None else (self.inputs.least, self.inputs.most)

    def as_snapshot(self, snapshot: str) -> "Model":
        """
        Give the row of a dated id: the same, but ordered under that id.

        That the oldest protocol takes dated ids is documented nowhere, so it is left out where there is another.
        """
        regions = tuple(
            replace(region, protocols=newer)
            if (newer := tuple(each for each in region.protocols if each is not WireProtocol.LEGACY))
            else region
            for region in self.regions
        )
        return replace(self, id=snapshot, regions=regions, aliases=(), snapshots=())

    @property
    def draws_from_words(self) -> bool:
        """Whether an order may be without input pictures, as the row stands."""
        return self.inputs is None or self.inputs.least == 0

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

    def choose_protocol(
        self, region: str, *, prefer_sync: bool, options: Mapping[str, Any] | None = None
    ) -> WireProtocol:
        """Choose how to order: by a task wherever there is one, since its id survives a broken connection."""
        offered = self.in_region(region).protocols
        mode = self.find_mode(options or {})
        prefer_sync = prefer_sync and not (mode is not None and mode.is_task_only)
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
