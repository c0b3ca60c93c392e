"""The Wan family as the documentation describes it."""

from decimal import Decimal

import pytest

from wan_mcp_tools.catalogue.catalogue import MODELS, Catalogue
from wan_mcp_tools.catalogue.model import WireProtocol
from wan_mcp_tools.catalogue.regions import REGIONS
from wan_mcp_tools.catalogue.wan import WAN_MODELS


def test_every_region_of_a_model_exists_and_the_sandbox_is_always_one():
    names = {region.name for region in REGIONS}
    for model in MODELS:
        assert set(model.region_names) <= names
        assert model.region_names[-1] == "sandbox"
        assert len(set(model.region_names)) == len(model.region_names)


@pytest.mark.parametrize(
    ("model_id", "regions"),
    [
        ("wan2.7-image", {"singapore", "beijing"}),
        ("wan2.6-t2i", {"singapore", "beijing", "virginia", "frankfurt"}),
        ("wan2.5-t2i-preview", {"singapore", "beijing"}),
        ("wanx2.0-t2i-turbo", {"beijing"}),
        ("wanx-v1", {"beijing"}),
    ],
)
def test_a_model_is_offered_where_the_documentation_says(model_id, regions):
    assert set(Catalogue().find(model_id).region_names) == regions | {"sandbox"}


def test_a_task_is_preferred_wherever_the_model_has_one():
    for model in MODELS:
        for region in model.regions:
            has_tasks = set(region.protocols) != {WireProtocol.SYNC}
            assert (model.choose_protocol(region.name, prefer_sync=False) is not WireProtocol.SYNC) is has_tasks


def test_rates_are_those_of_the_region():
    model = Catalogue().find("wan2.6-t2i")
    assert (model.submit_rate("beijing"), model.submit_rate("singapore")) == (1, 5)
    assert Catalogue().find("wanx-v1").in_region("beijing").concurrency == 1


def test_a_price_belongs_to_a_region_and_has_a_currency_and_a_date():
    model = Catalogue().find("wan2.7-image-pro")
    singapore, beijing = model.price("singapore"), model.price("beijing")
    assert (singapore.amount, singapore.currency) == (Decimal("0.075"), "USD")
    assert (beijing.amount, beijing.currency) == (Decimal("0.50"), "CNY")
    assert beijing.as_of
    assert model.price("sandbox") is None
    assert model.price("tokyo") is None


def test_a_wan_model_without_a_negative_prompt_has_no_rewriting_either():
    lacking = {model.id for model in WAN_MODELS if model.negative_prompt_limit is None}
    assert lacking == {model.id for model in WAN_MODELS if not model.has_prompt_extend}
    assert "wan2.7-image" in lacking
    assert "wan2.6-t2i" not in lacking


@pytest.mark.parametrize(
    ("model_id", "limit"),
    [("wan2.7-image", 5000), ("wan2.6-t2i", 2100), ("wan2.5-t2i-preview", 2000), ("wan2.2-t2i-plus", 800)],
)
def test_the_limits_of_prompts_are_the_documented_ones(model_id, limit):
    assert Catalogue().find(model_id).prompt_limit == limit
