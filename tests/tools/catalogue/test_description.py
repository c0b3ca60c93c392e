import json
import re

import pytest

from wan_mcp_tools import arguments
from wan_mcp_tools.catalogue.catalogue import MODELS, Catalogue
from wan_mcp_tools.catalogue.description import describe_model, find_default, list_models
from wan_mcp_tools.catalogue.model import format_amount
from wan_mcp_tools.tool import Arguments


def make_catalogue(
    default_region="singapore", keys=("singapore", "sandbox"), default_model="wan2.6-t2i", extra=(), **more
):
    return Catalogue(
        extra, default_model=default_model, default_region=default_region, keyed_regions=frozenset(keys), **more
    )


def cheapest(region):
    prices = {model.id: model.price(region) for model in MODELS if region in model.region_names}
    least = min(price.amount for price in prices.values() if price)
    return {model_id for model_id, price in prices.items() if price and price.amount == least}


def test_the_list_answers_which_model_is_cheapest_in_each_region():
    ranked = list_models(make_catalogue())["cheapest_first"]

    for region, lines in ranked.items():
        assert lines[0].split()[0] in cheapest(region)
        amounts = [float(re.search(r"\(([\d.]+)", line)[1]) for line in lines]
        assert amounts == sorted(amounts)
    assert set(ranked) == {"singapore", "beijing", "virginia"}
    assert all("z-image-turbo" in " ".join(ranked[region]) for region in ("singapore", "beijing"))


def test_the_list_names_every_model_its_regions_and_its_price_there_in_a_few_lines():
    facts = list_models(make_catalogue())

    assert [model["id"] for model in facts["models"]] == [model.id for model in MODELS]
    usual = next(model for model in facts["models"] if model["id"] == "wan2.6-t2i")
    assert usual["regions"]["singapore"] == "0.03 USD"
    assert usual["regions"]["frankfurt"] == "price not known"
    assert usual["regions"]["sandbox"] == "free"
    assert "2026-05" in facts["prices"]
    assert len(json.dumps(facts).encode()) < 400 * len(MODELS)


def test_the_list_says_what_is_usual_here_and_which_regions_have_a_key():
    facts = list_models(make_catalogue("beijing", ("beijing", "sandbox"), "WANX2.1-T2I-PLUS"))

    assert facts["default_model"] == "wan2.1-t2i-plus"
    assert [model["id"] for model in facts["models"] if model.get("default")] == ["wan2.1-t2i-plus"]
    assert facts["default_region"] == "beijing"
    assert facts["regions_with_key"] == ["beijing", "sandbox"]


def test_a_default_that_does_not_exist_is_shown_as_it_is_set():
    catalogue = make_catalogue(default_model="wan9")

    assert find_default(catalogue) is None
    assert list_models(catalogue)["default_model"] == "wan9"


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_the_facts_of_a_model_are_those_that_an_order_is_checked_by(model):
    catalogue = make_catalogue()
    facts = json.loads(json.dumps(describe_model(model, catalogue)))

    assert facts["id"] == model.id
    assert [region["region"] for region in facts["regions"]] == list(model.region_names)
    assert facts["n"]["maximum"] == model.max_n if model.has_n else "n" not in facts
    assert facts["prompt"] == {f"most_{model.prompt_unit}": model.prompt_limit}
    assert facts["usual_seconds"] == model.usual_seconds
    assert set(facts.get("options", {})) == {option.name for option in model.options}
    assert ("images" in facts) is ("images" in facts["parameters"]) is (model.inputs is not None)
    assert ("negative_prompt" in facts) == ("negative_prompt" in facts["parameters"])
    assert ("prompt_extend" in facts["parameters"]) is model.has_prompt_extend
    for ratio, size in facts.get("sizes", {"ratios": {}})["ratios"].items():
        assert model.sizes.resolve(ratio) == size
    for region in facts["regions"]:
        price = model.price(region["region"])
        amount = format_amount(price.amount) if price else ("free", "price not known")
        assert region["price_of_one_image"].startswith(amount)
        assert region["has_key"] is (region["region"] in catalogue.keyed_regions)
        assert region["ordered_by"] in region["protocols"]


def test_the_facts_follow_the_operators_protocol_and_the_regions_spelling():
    old = describe_model(Catalogue().find("wan2.1-t2i-turbo"), make_catalogue())
    new = describe_model(Catalogue().find("wan2.6-t2i"), make_catalogue(prefer_sync=True))

    assert {region["region"]: region.get("id_there") for region in old["regions"]}["beijing"] == "wanx2.1-t2i-turbo"
    assert old["aliases"] == ["wanx2.1-t2i-turbo"]
    assert {region["region"]: region["ordered_by"] for region in new["regions"]}["singapore"] == "sync"


def test_a_model_that_the_operator_added_is_listed_without_a_price():
    catalogue = make_catalogue(extra=({"id": "wan9-t2i", "protocol": "async", "regions": ["singapore"]},))
    line = list_models(catalogue)["models"][-1]

    assert line["id"] == "wan9-t2i"
    assert line["regions"] == {"singapore": "price not known", "sandbox": "free"}


def test_the_tool_list_alone_says_which_model_is_cheapest_and_what_the_usual_ones_cost():
    class Order(Arguments):
        model: arguments.ModelId = None

    words = Order.model_json_schema()["properties"]["model"]["description"]
    here = words.partition("Cheapest: ")[2].rstrip(".")

    assert here.split()[0] in cheapest("singapore")
    singapore = {model.id: str(model.price("singapore").amount) for model in MODELS if model.price("singapore")}
    assert here.split()[1] == singapore[here.split()[0]]
    assert singapore["wan2.6-t2i"] == singapore["wan2.7-image"] == "0.03"
    assert f"wan2.7-image-pro (to 4K) {singapore['wan2.7-image-pro']}" in words
