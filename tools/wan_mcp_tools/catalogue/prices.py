"""
What images cost: an estimate before they are ordered, sums afterwards.

All of it is indicative: the catalogue's prices have a month, and the service's bill is the only truth. Currencies are
never added to one another, and an image whose price is not known is counted as such.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.catalogue.model import Price, format_amount
from wan_mcp_tools.catalogue.regions import SANDBOX
from wan_mcp_tools.domain.errors import RequestRefusedError
from wan_mcp_tools.domain.record import Record
from wan_mcp_tools.domain.requests import ImageRequest


class ImageCount(Record):
    """
    The images of one day, region and model.

    `day` is of this machine's calendar and of the order, not of the picture. `charged` are images that the service
    made, saved or not. `open` were ordered and are not made yet. `unclear` were ordered and nobody knows what became
    of them. `found` were made by tasks that were found at the service and not ordered here: they are in no sum.
    `priced` are the orders of `charged` and `open` by what their price depends on; empty where it depends on
    nothing, or nothing is known of them.
    """

    day: date
    region: str
    model: str | None
    charged: int = 0
    open: int = 0
    unclear: int = 0
    found: int = 0
    priced: tuple["PricedImages", ...] = ()


class PricedImages(Record):
    """
    Images of orders that were alike in what their price depends on.

    `size` is what was ordered, `inputs` the input pictures of all these orders of which images were charged, or are
    open.
    """

    size: str | None
    is_extended: bool
    charged: int = 0
    open: int = 0
    charged_inputs: int = 0
    open_inputs: int = 0


class Money(Record):
    """An amount in one currency."""

    amount: Decimal
    currency: str

    def __str__(self) -> str:
        return f"{format_amount(self.amount)} {self.currency}"


class Cost(Record):
    """
    What a number of images costs: one amount for each currency, in the order of their names.

    `unpriced` of the images have no known price and `free` cost nothing; neither is in `amounts`. `as_of` are the
    months (year-month) of the prices. `is_most` says that there may be fewer images.
    """

    images: int = 0
    amounts: tuple[Money, ...] = ()
    unpriced: int = 0
    free: int = 0
    as_of: tuple[str, ...] = ()
    is_most: bool = False


class CostLine(Record):
    """The images of one day, region and model, with what the charged and the open ones cost."""

    count: ImageCount
    charged: Cost
    open: Cost


class CostReport(Record):
    """
    The images of some days and what they cost; `since` and `until` are the first and the last day.

    `lines` are in the order of days, newest first. `unclear` and `found` count images that are in no sum.
    """

    since: date
    until: date
    lines: tuple[CostLine, ...]
    charged: Cost
    open: Cost
    unclear: int
    found: int


class _Batch(Record):
    """Some images of one kind: how many, what they cost together if that is known, and whether they are free."""

    images: int
    money: Money | None
    is_free: bool
    as_of: str = ""


def estimate(requests: Iterable[ImageRequest], catalogue: Catalogue) -> Cost:
    """Give what orders will cost if every image of them is made; of sets there may be fewer."""
    listed = list(requests)
    cost = _add_up([_estimate(request, catalogue) for request in listed])
    return replace(cost, is_most=any(each.is_counted_by_model and each.n > 1 for each in listed))


def estimate_made(request: ImageRequest, made: int, catalogue: Catalogue) -> Cost:
    """Give what so many images of an order cost."""
    return _add_up([_estimate(replace(request, n=made), catalogue)])


def estimate_most(request: ImageRequest, catalogue: Catalogue) -> Money | None:
    """Give the most that an order may cost, None if that is not known or it is free."""
    price = _find_price(request.region, request.model, catalogue)
    if price is None or request.region == SANDBOX.name:
        return None
    # Who says nothing of it leaves it to the service whether the prompt is rewritten.
    image = price.of_image(request.size)
    if request.prompt_extend is not False:
        image = max(image, price.of_image(request.size, is_extended=True))
    return Money(request.n * image + len(request.images) * price.per_input, price.currency)


def make_report(counts: Sequence[ImageCount], catalogue: Catalogue, *, since: date, until: date) -> CostReport:
    """Give what the images of a ledger cost."""
    charged = [_batch_of(each, catalogue, is_open=False) for each in counts]
    expected = [_batch_of(each, catalogue, is_open=True) for each in counts]
    return CostReport(
        since=since,
        until=until,
        lines=tuple(
            CostLine(count, _add_up(made), _add_up(to_come))
            for count, made, to_come in zip(counts, charged, expected, strict=True)
        ),
        charged=_add_up([batch for batches in charged for batch in batches]),
        open=_add_up([batch for batches in expected for batch in batches]),
        unclear=sum(each.unclear for each in counts),
        found=sum(each.found for each in counts),
    )


def format_cost(cost: Cost) -> str:
    """Say what images cost and no more: `0.36 USD`, `free` or `price not known`."""
    parts = [str(money) for money in cost.amounts]
    if cost.unpriced:
        unpriced = "1 image" if cost.unpriced == 1 else f"{cost.unpriced} images"
        parts.append(f"{unpriced} of unknown price" if parts else "price not known")
    return " and ".join(parts) or "free"


def describe_cost(cost: Cost) -> str:
    """Say what images cost, in words: `about 0.36 USD (indicative, prices of 2026-05)`, or `at most` so much."""
    amount = format_cost(cost)
    bound = "at most" if cost.is_most else "about"
    return f"{bound} {amount} (indicative, prices of {' and '.join(cost.as_of)})" if cost.amounts else amount


def report_facts(report: CostReport) -> dict[str, Any]:
    """Give a report as plain data; amounts are text, so that nothing is rounded."""
    return {
        "since": report.since.isoformat(),
        "until": report.until.isoformat(),
        **_describe_dates(report),
        "charged": _cost_facts(report.charged),
        "open": _cost_facts(report.open),
        "unclear_images": report.unclear,
        "found_images": report.found,
        "lines": [
            {
                "day": line.count.day.isoformat(),
                "region": line.count.region,
                "model": line.count.model,
                "charged": _cost_facts(line.charged),
                "open": _cost_facts(line.open),
                "unclear_images": line.count.unclear,
                "found_images": line.count.found,
            }
            for line in report.lines
        ],
    }


def _estimate(request: ImageRequest, catalogue: Catalogue) -> _Batch:
    return _batch(
        request.n,
        request.region,
        _find_price(request.region, request.model, catalogue),
        size=request.size,
        is_extended=request.prompt_extend is True,
        inputs=len(request.images),
    )


def _batch_of(count: ImageCount, catalogue: Catalogue, *, is_open: bool) -> list[_Batch]:
    """Give the images of one count, those of which nothing more is known last."""
    price = _find_price(count.region, count.model, catalogue)
    known = [
        _batch(
            each.open if is_open else each.charged,
            count.region,
            price,
            size=each.size,
            is_extended=each.is_extended,
            inputs=each.open_inputs if is_open else each.charged_inputs,
        )
        for each in count.priced
    ]
    rest = (count.open if is_open else count.charged) - sum(batch.images for batch in known)
    return [*known, _batch(rest, count.region, price, size=None, is_extended=False, inputs=0)]


def _batch(
    images: int, region: str, price: Price | None, *, size: str | None, is_extended: bool, inputs: int
) -> _Batch:
    if region == SANDBOX.name or price is None:
        return _Batch(images, None, is_free=region == SANDBOX.name)
    amount = images * price.of_image(size, is_extended=is_extended) + inputs * price.per_input
    return _Batch(images, Money(amount, price.currency), is_free=False, as_of=price.as_of)


def _find_price(region: str, model: str | None, catalogue: Catalogue) -> Price | None:
    try:
        return catalogue.find(model).price(region) if model else None
    except RequestRefusedError:
        # A task found at the service, or one of an earlier setting, may be of a model that is not known here.
        return None


def _add_up(batches: Iterable[_Batch]) -> Cost:
    amounts: dict[str, Decimal] = {}
    months: set[str] = set()
    images = unpriced = free = 0
    for batch in batches:
        if not batch.images:
            continue
        images += batch.images
        if batch.is_free:
            free += batch.images
        elif batch.money is None:
            unpriced += batch.images
        else:
            currency = batch.money.currency
            amounts[currency] = amounts.get(currency, Decimal()) + batch.money.amount
            months.add(batch.as_of)
    money = tuple(Money(amounts[currency], currency) for currency in sorted(amounts))
    return Cost(images, money, unpriced, free, tuple(sorted(months)))


def _cost_facts(cost: Cost) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "images": cost.images,
        "cost": {money.currency: format_amount(money.amount) for money in cost.amounts},
    }
    counts = {"free_images": cost.free, "images_of_unknown_price": cost.unpriced}
    return facts | {name: count for name, count in counts.items() if count}


def _describe_dates(report: CostReport) -> dict[str, str]:
    months = sorted({*report.charged.as_of, *report.open.as_of})
    return {"prices": f"indicative, of {' and '.join(months)}"} if months else {}
