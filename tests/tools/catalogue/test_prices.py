"""What images cost: estimates and sums."""

import json
from datetime import date
from decimal import Decimal

import pytest

from wan_mcp_tools.catalogue.catalogue import MODELS, Catalogue
from wan_mcp_tools.catalogue.model import format_amount
from wan_mcp_tools.catalogue.prices import (
    Cost,
    ImageCount,
    Money,
    PricedImages,
    describe_cost,
    estimate,
    estimate_made,
    estimate_most,
    make_report,
    report_facts,
)

CATALOGUE = Catalogue()
KEYED = frozenset({"singapore", "beijing", "virginia", "frankfurt"})
ORDERING = Catalogue(keyed_regions=KEYED)
DAY = date(2026, 11, 22)


def request(**words):
    return ORDERING.make_request(**{"prompt": "a red fox"} | words)


def report(*counts: ImageCount):
    return make_report(counts, CATALOGUE, since=date(2026, 11, 1), until=DAY)


# --- before an order ----------------------------------------------------------------------------------------


def test_an_order_costs_the_price_of_its_region_for_each_image() -> None:
    expected = estimate([request(n=3)], CATALOGUE)
    assert expected == Cost(3, (Money(Decimal("0.09"), "USD"),), as_of=("2026-05",))
    assert describe_cost(expected) == "about 0.09 USD (indicative, prices of 2026-05)"


def test_orders_are_added_up() -> None:
    orders = [request(n=2), request(n=1, model="wan2.7-image-pro")]
    assert describe_cost(estimate(orders, CATALOGUE)) == "about 0.135 USD (indicative, prices of 2026-05)"


def test_currencies_are_told_apart_and_never_added() -> None:
    orders = [request(n=1), request(n=2, region="beijing"), request(n=1, region="virginia")]
    assert describe_cost(estimate(orders, CATALOGUE)).startswith("about 0.60 CNY and 0.03 USD (")


def test_an_image_without_a_known_price_is_said_to_have_none() -> None:
    assert describe_cost(estimate([request(region="frankfurt")], CATALOGUE)) == "price not known"
    both = estimate([request(), request(region="frankfurt", n=2)], CATALOGUE)
    assert describe_cost(both) == "about 0.03 USD and 2 images of unknown price (indicative, prices of 2026-05)"
    assert both.unpriced == 2


def test_the_sandbox_is_free() -> None:
    expected = estimate([request(region="sandbox", n=4)], CATALOGUE)
    assert (expected.images, expected.free, expected.amounts) == (4, 4, ())
    assert describe_cost(expected) == "free"


@pytest.mark.parametrize(
    ("amount", "words"),
    [("0.3", "0.30"), ("0.300", "0.30"), ("0.075", "0.075"), ("12", "12.00"), ("1E+2", "100.00")],
)
def test_an_amount_has_two_decimals_or_more(amount: str, words: str) -> None:
    assert format_amount(Decimal(amount)) == words


# --- afterwards ---------------------------------------------------------------------------------------------


def test_a_report_sums_what_was_charged_and_what_is_open_apart() -> None:
    made = report(
        ImageCount(DAY, "singapore", "wan2.6-t2i", charged=10, open=2),
        ImageCount(DAY, "beijing", "wan2.6-t2i", charged=1),
        ImageCount(date(2026, 11, 21), "singapore", "wan2.6-t2i", charged=5, unclear=1, found=7),
    )
    assert made.charged.amounts == (Money(Decimal("0.20"), "CNY"), Money(Decimal("0.45"), "USD"))
    assert made.open.amounts == (Money(Decimal("0.06"), "USD"),)
    assert (made.charged.images, made.open.images, made.unclear, made.found) == (16, 2, 1, 7)
    assert made.lines[0].charged.amounts == (Money(Decimal("0.30"), "USD"),)


@pytest.mark.parametrize(("region", "model"), [("singapore", None), ("singapore", "wan9"), ("mars", "wan2.6-t2i")])
def test_images_of_a_model_that_nobody_knows_have_no_price(region: str, model: str | None) -> None:
    made = report(ImageCount(DAY, region, model, charged=3))
    assert (made.charged.images, made.charged.unpriced, made.charged.amounts) == (3, 3, ())


def test_a_report_is_plain_data_whose_amounts_are_not_rounded() -> None:
    facts = report_facts(
        report(
            ImageCount(DAY, "singapore", "wan2.7-image-pro", charged=3),
            ImageCount(DAY, "sandbox", "wan2.6-t2i", charged=2, open=1),
        )
    )
    assert json.loads(json.dumps(facts)) == facts
    assert facts["charged"] == {"images": 5, "cost": {"USD": "0.225"}, "free_images": 2}
    assert facts["prices"] == "indicative, of 2026-05"
    assert [line["day"] for line in facts["lines"]] == ["2026-11-22", "2026-11-22"]
    assert facts["lines"][1]["open"] == {"images": 1, "cost": {}, "free_images": 1}


def test_a_report_of_nothing_costs_nothing() -> None:
    facts = report_facts(report())
    assert (facts["charged"], facts["lines"], "prices" in facts) == ({"images": 0, "cost": {}}, [], False)


def test_every_price_of_the_catalogue_has_a_month_and_a_source() -> None:
    regions = [(model.id, region) for model in MODELS for region in model.regions if region.name != "sandbox"]
    without = {model_id for model_id, region in regions if region.price is None}
    assert without == {"wan2.6-t2i", "wan2.6-image", "wan2.5-i2i-preview", "qwen-image-3.0-pro", "qwen-image-3.0"}
    prices = [region.price for _, region in regions if region.price]
    assert all(len(price.as_of) == len("2026-05") and price.source for price in prices)


# --- prices that depend on something ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "cost"),
    [
        ({"model": "qwen-image-3.0-pro"}, "0.04 USD"),
        ({"model": "qwen-image-3.0-pro", "size": "1500*1500"}, "0.04 USD"),
        ({"model": "qwen-image-3.0-pro", "size": "1504*1504"}, "0.075 USD"),
        ({"model": "qwen-image-3.0-pro", "size": "2K", "n": 2, "images": ["a.png"]}, "0.153 USD"),
        ({"model": "qwen-image-3.0", "images": ["a.png", "b.png"], "region": "beijing"}, "0.22 CNY"),
        ({"model": "wan2.7-image", "images": ["a.png", "b.png"]}, "0.03 USD"),
        ({"model": "z-image-turbo"}, "0.015 USD"),
        ({"model": "z-image-turbo", "prompt_extend": True}, "0.03 USD"),
    ],
)
def test_area_input_pictures_and_rewriting_are_part_of_a_price(words: dict[str, object], cost: str) -> None:
    assert describe_cost(estimate([request(**words)], CATALOGUE)).startswith(f"about {cost} (")


def test_of_a_set_the_most_that_it_may_cost_is_told_and_afterwards_what_came() -> None:
    storyboard = request(model="wan2.7-image", options={"enable_sequential": True})
    other = request(model="wan2.7-image", n=2)
    assert describe_cost(estimate([storyboard, other], CATALOGUE)).startswith("at most 0.42 USD (")
    assert estimate_most(storyboard, CATALOGUE) == Money(Decimal("0.36"), "USD")
    assert describe_cost(estimate_made(storyboard, 6, CATALOGUE)).startswith("about 0.18 USD (")


def test_a_report_adds_up_what_was_ordered_by_size_and_input_pictures() -> None:
    parts = (
        PricedImages("1024*1024", False, charged=2, charged_inputs=1),
        PricedImages("2048*2048", False, charged=1, open=3, charged_inputs=0, open_inputs=2),
    )
    made = report(ImageCount(DAY, "singapore", "qwen-image-3.0-pro", charged=4, open=3, priced=parts))
    # The fourth image has no order that could be read: it counts as a large one.
    assert made.charged.amounts == (Money(Decimal("0.233"), "USD"),)
    assert made.open.amounts == (Money(Decimal("0.231"), "USD"),)
    assert (made.charged.images, made.open.images) == (4, 3)
