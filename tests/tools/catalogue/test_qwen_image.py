"""The Qwen-Image and Z-Image families as the documentation describes them."""

import pytest

from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.catalogue.model import WireProtocol

CATALOGUE = Catalogue()
SYNC, ASYNC, LEGACY = WireProtocol.SYNC, WireProtocol.ASYNC, WireProtocol.LEGACY
TWO = {"singapore", "beijing", "sandbox"}
SIX = {"singapore", "beijing", "virginia", "frankfurt", "tokyo", "hongkong", "sandbox"}


@pytest.mark.parametrize(
    ("model_id", "regions", "protocols", "inputs", "most"),
    [
        ("qwen-image-3.0-pro", SIX, {SYNC, ASYNC}, (0, 3), 6),
        ("qwen-image-3.0", SIX, {SYNC, ASYNC}, (0, 3), 6),
        ("qwen-image-2.1-pro", TWO, {SYNC}, (0, 10), 6),
        ("qwen-image-2.0-pro", TWO, {SYNC}, (0, 3), 6),
        ("qwen-image-2.0", TWO, {SYNC}, (0, 3), 6),
        ("qwen-image-max", TWO, {SYNC}, (0, 0), 1),
        ("qwen-image-plus", TWO, {SYNC, LEGACY}, (0, 0), 1),
        ("qwen-image", TWO, {SYNC, LEGACY}, (0, 0), 1),
        ("qwen-image-edit-max", TWO, {SYNC}, (1, 3), 6),
        ("qwen-image-edit-plus", TWO, {SYNC}, (1, 3), 6),
        ("qwen-image-edit", TWO, {SYNC}, (1, 3), 1),
        ("z-image-turbo", TWO, {SYNC}, (0, 0), 1),
    ],
)
def test_a_model_is_what_the_documentation_says(model_id, regions, protocols, inputs, most):
    model = CATALOGUE.find(model_id)
    assert set(model.region_names) == regions
    assert {protocol for region in model.regions for protocol in region.protocols} == protocols
    assert model.count_inputs({}) == inputs
    assert model.max_n == most


@pytest.mark.parametrize(
    ("dated", "model_id"),
    [
        ("qwen-image-2.0-pro-2026-06-22", "qwen-image-2.0-pro"),
        ("qwen-image-edit-plus-2025-10-30", "qwen-image-edit-plus"),
        ("Qwen-Image-Max-2025-12-30", "qwen-image-max"),
    ],
)
def test_a_dated_id_has_the_facts_of_its_model_and_is_sent_as_it_was_named(dated, model_id):
    snapshot, model = CATALOGUE.find(dated), CATALOGUE.find(model_id)
    assert snapshot.wire_id("singapore") == dated.lower()
    assert (snapshot.max_n, snapshot.price("beijing")) == (model.max_n, model.price("beijing"))
    assert snapshot not in CATALOGUE.models


def test_a_dated_id_is_not_ordered_by_the_oldest_protocol():
    assert CATALOGUE.find("qwen-image-plus").choose_protocol("beijing", prefer_sync=False) is LEGACY
    assert CATALOGUE.find("qwen-image-plus-2026-01-09").choose_protocol("beijing", prefer_sync=False) is SYNC


@pytest.mark.parametrize("model_id", ["qwen-image-3.0", "qwen-image-2.0-pro", "z-image-turbo"])
def test_a_long_prompt_is_remarked_on_and_not_refused_where_the_limit_counts_tokens(model_id):
    limit = CATALOGUE.find(model_id).prompt_limit
    fitting = CATALOGUE.make_request(prompt="fox " * limit, model=model_id)
    longer = CATALOGUE.make_request(prompt="猫" * (limit + 1), model=model_id)
    assert CATALOGUE.list_remarks(fitting) == ()
    assert f"about {limit} tokens" in CATALOGUE.list_remarks(longer)[0]


def test_a_grade_is_sent_in_pixels_where_the_model_refuses_the_word():
    assert CATALOGUE.make_request(prompt="x", model="qwen-image-3.0", size="1k").size == "1024*1024"
    assert CATALOGUE.make_request(prompt="x", model="qwen-image-3.0", size="2K").size == "2048*2048"


def test_rewriting_is_left_off_where_it_doubles_the_price():
    assert CATALOGUE.make_request(prompt="x", model="z-image-turbo").prompt_extend is False
    assert CATALOGUE.make_request(prompt="x", model="qwen-image-3.0").prompt_extend is True
