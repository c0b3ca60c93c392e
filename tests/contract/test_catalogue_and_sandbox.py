"""The catalogue and the sandbox were read from the documentation apart; where they disagree, one misread it."""

import json
import re
from dataclasses import replace

import pytest

from wan_mcp.dashscope.requests import encode_body
from wan_mcp.orders.worker.submit import make_create_order
from wan_mcp.sandbox.catalogue.families import MODELS as ROWS
from wan_mcp.sandbox.catalogue.model import Mode
from wan_mcp.sandbox.catalogue.model import WireProtocol as SandboxProtocol
from wan_mcp.sandbox.inputs import InputPicture
from wan_mcp.sandbox.requests import make_order, read_body
from wan_mcp_tools.catalogue.catalogue import MODELS, Catalogue
from wan_mcp_tools.catalogue.model import WireProtocol
from wan_mcp_tools.catalogue.regions import REGIONS, SANDBOX
from wan_mcp_tools.catalogue.sizes import GRADES

PROTOCOLS = {
    WireProtocol.SYNC: {SandboxProtocol.SYNC},
    WireProtocol.ASYNC: {SandboxProtocol.ASYNC},
    # One protocol for the client, with a path of its own for editing.
    WireProtocol.LEGACY: {SandboxProtocol.LEGACY, SandboxProtocol.LEGACY_EDIT},
}
IDS = {region.name: region.id for region in REGIONS}
BY_REGION = [
    pytest.param(model, region, id=f"{model.id} in {region.name}")
    for model in MODELS
    for region in model.regions
    if region.name != SANDBOX.name
]
DATED = re.compile(r"-\d{4}-\d{2}-\d{2}$")
CATALOGUE = Catalogue(default_region=SANDBOX.name, keyed_regions=frozenset({SANDBOX.name}))


def test_both_know_the_same_models():
    # A region may have its own spelling, which the sandbox knows as a model of that region.
    named = {model.wire_id(region) for model in MODELS for region in model.region_names}
    assert named == {name for name in ROWS if not DATED.search(name)}
    assert {name for model in MODELS for name in model.snapshots} == {name for name in ROWS if DATED.search(name)}


@pytest.mark.parametrize(("model", "region"), BY_REGION)
def test_what_a_region_is_asked_for_it_has_by_the_same_protocols_and_no_quicker(model, region):
    row = ROWS[model.wire_id(region.name)]
    known = IDS[region.name]
    assert row.is_offered_in(known)
    missing = set() if row.has_sync_in(known) else {SandboxProtocol.SYNC}
    there = row.protocols - missing
    # The client may leave one out: not every model needs its oldest protocol.
    assert all(PROTOCOLS[protocol] & there for protocol in region.protocols)
    assert (region.submit_rate, region.concurrency) <= (row.rate_in(known), row.concurrency)


@pytest.mark.parametrize(
    "row", [row for row in ROWS.values() if not DATED.search(row.name)], ids=lambda row: row.name
)
def test_no_region_of_a_model_is_left_out(row):
    offering = {
        IDS[region.name] for model in MODELS for region in model.regions if model.wire_id(region.name) == row.name
    }
    here = {IDS[SANDBOX.name]}
    assert {known for known in IDS.values() if row.is_offered_in(known)} - here == offering - here


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_both_take_the_same_pictures(model):
    row = ROWS[model.id]
    edit = row.modes.get(Mode.EDIT)
    if model.inputs is None:
        assert edit is None
        return
    least, most = edit.inputs
    # Where words are enough too, the catalogue counts from none.
    assert (model.inputs.least or 1, model.inputs.most) == (least, most)
    assert (model.inputs.least == 0) == (Mode.TEXT in row.modes)
    rule = row.inputs
    assert set(model.inputs.formats) <= rule.formats
    assert model.inputs.max_bytes <= rule.most_bytes
    assert model.inputs.has_alpha <= rule.allows_alpha
    advised, high = rule.advised_sides or (0, rule.sides[1])
    assert rule.sides[0] <= model.inputs.min_side < model.inputs.max_side <= high
    assert model.inputs.advised_min_side == advised
    assert model.inputs.max_ratio == rule.ratio


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_both_know_the_same_parameters(model):
    known = {option.name for option in model.options}
    known |= {
        name
        for name, is_there in {
            "n": model.has_n,
            "size": model.sizes is not None,
            "seed": model.has_seed,
            "watermark": model.has_watermark,
            "prompt_extend": model.has_prompt_extend,
            "negative_prompt": model.negative_prompt_limit is not None,
        }.items()
        if is_there
    }
    # Streams, and the picture whose style is taken over, are nothing that the client offers.
    assert known == ROWS[model.id].takes - {"stream", "ref_strength", "ref_mode"}


def orders_of(model):
    """Give arguments for every mode and size of a model: nothing but what the catalogue names."""
    counts = [0] if model.draws_from_words else []
    counts += [1, model.inputs.most] if model.inputs else []
    switches = [{}, *({mode.option: True} for mode in model.modes)]
    for options in switches:
        least, most = model.count_inputs(options)
        for images in sorted({min(max(count, least), most) for count in counts} | {least, most}):
            if not images and not options and not model.draws_from_words:
                continue
            rule = model.sizes_of(options, with_images=images > 0)
            sizes = [None] if rule is None else [None, *rule.native, *(size for _, size in rule.presets)]
            mode = model.find_mode(options)
            for size in sizes:
                for n in {1, mode.max_n if mode else model.max_n}:
                    yield {"images": images, "size": size, "n": n, "options": options}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_a_strict_sandbox_takes_every_order_that_the_catalogue_allows(model):
    row = ROWS[model.id]
    size = max(model.inputs.min_side, 512) if model.inputs else 0
    picture = InputPicture("a", b"", size, size, 9, "PNG", "image/png")
    for order in orders_of(model):
        images = order.pop("images")
        request = CATALOGUE.make_request(prompt="a door", model=model.id, images=["a.png"] * images or None, **order)
        region = model.in_region(request.region)
        for protocol in region.protocols:
            mode = model.find_mode(request.options)
            if mode is not None and mode.is_task_only and protocol is WireProtocol.SYNC:
                continue
            wire = replace(
                make_create_order(request, model, region=request.region, protocol=protocol, model_id=model.id),
                images=("https://example.com/a.png",) * images,
            )
            (there,) = PROTOCOLS[protocol] & row.protocols
            content = json.loads(encode_body(wire))
            body = read_body(content, row, there, strict=True)
            painted = make_order(body, row, there, [replace(picture)] * images, strict=True)
            assert painted.count == request.n, (order, content)
            assert painted.prompt == "a door"
            if (
                images == 0
                and request.size is not None
                and "*" in request.size
                and not row.modes[body.mode].sizes.is_rounded
            ):
                assert f"{painted.width}*{painted.height}" == request.size


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_the_sandbox_reads_prompts_as_long_as_the_catalogue_takes(model):
    assert ROWS[model.id].prompt_limit >= model.prompt_limit


def test_both_mean_the_same_by_a_grade():
    for row in ROWS.values():
        for rule in row.modes.values():
            # Wan 2.6 means an area of its own by 1K.
            assert all(GRADES[name] == side or row.name == "wan2.6-image" for name, side in rule.sizes.names.items())
