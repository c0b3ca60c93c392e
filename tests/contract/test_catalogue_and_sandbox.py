"""The catalogue and the sandbox were read from the documentation apart; where they disagree, one misread it."""

import pytest

from wan_mcp.sandbox import models as sandbox
from wan_mcp_tools.catalogue.catalogue import MODELS
from wan_mcp_tools.catalogue.model import WireProtocol
from wan_mcp_tools.catalogue.regions import REGIONS, SANDBOX
from wan_mcp_tools.catalogue.sizes import GRADES

PROTOCOLS = {
    WireProtocol.SYNC: sandbox.WireProtocol.SYNC,
    WireProtocol.ASYNC: sandbox.WireProtocol.ASYNC,
    WireProtocol.LEGACY: sandbox.WireProtocol.LEGACY,
}
IDS = {region.name: region.id for region in REGIONS}
BY_REGION = [
    pytest.param(model, region, id=f"{model.id} in {region.name}")
    for model in MODELS
    for region in model.regions
    if region.name != SANDBOX.name
]


def test_both_know_the_same_models():
    # A region may have its own spelling, which the sandbox knows as a model of that region.
    named = {model.wire_id(region) for model in MODELS for region in model.region_names}
    assert named == set(sandbox.MODELS)


@pytest.mark.parametrize(("model", "region"), BY_REGION)
def test_both_offer_a_model_in_the_same_regions_by_the_same_protocols_at_the_same_rate(model, region):
    row = sandbox.MODELS[model.wire_id(region.name)]
    known = IDS[region.name]
    assert row.is_offered_in(known)
    missing = set() if row.has_sync_in(known) else {sandbox.WireProtocol.SYNC}
    assert {PROTOCOLS[protocol] for protocol in region.protocols} == row.protocols - missing
    assert (row.rate_in(known), row.concurrency) == (region.submit_rate, region.concurrency)


@pytest.mark.parametrize("row", sandbox.MODELS.values(), ids=lambda row: row.name)
def test_the_sandbox_offers_a_model_nowhere_else(row):
    offering = {
        IDS[region.name] for model in MODELS for region in model.regions if model.wire_id(region.name) == row.name
    }
    assert {known for known in IDS.values() if row.is_offered_in(known)} - {IDS["sandbox"]} == offering - {
        IDS["sandbox"]
    }


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_both_read_prompts_of_the_same_length_and_paint_the_same_sizes(model):
    row = sandbox.MODELS[model.id]
    assert row.prompt_limit == model.prompt_limit
    assert row.most_images == model.max_n
    for size in (model.sizes.default, *model.sizes.recommended, *model.sizes.native):
        width, height = row.sizes.measure(model.sizes.resolve(size))
        assert size in (f"{width}*{height}", *(grade for grade, side in GRADES.items() if side == width == height))
    assert row.sizes.measure(None) == row.sizes.measure(model.sizes.default)
    for width, height in ((256, 256), (511, 512), (767, 768), (1440, 1441), (2048, 2049), (4096, 4097), (200, 3200)):
        if model.sizes.allows(f"{width}*{height}"):
            row.sizes.measure(f"{width}*{height}")
