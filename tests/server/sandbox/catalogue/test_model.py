"""What the service offers: which sizes each model paints."""

import pytest

from wan_mcp.sandbox.catalogue.extra_models import add_models
from wan_mcp.sandbox.catalogue.families import MODELS
from wan_mcp.sandbox.catalogue.model import SizeError, WireProtocol

RECOMMENDED = ["1280*1280", "1104*1472", "1472*1104", "960*1696", "1696*960"]


@pytest.mark.parametrize(
    ("model", "sizes"),
    [
        ("wan2.6-t2i", [*RECOMMENDED, "768*2700", "1440*1440", "2560*640"]),
        ("wan2.5-t2i-preview", [*RECOMMENDED, "768*2700", "1024*1024"]),
        ("wan2.2-t2i-flash", ["512*512", "1440*1440", "512*1440"]),
        ("wanx-v1", ["1024*1024", "720*1280", "768*1152", "1280*720"]),
        ("wan2.7-image", ["1K", "2K", "768*768", "2048*2048", "512*4096"]),
        ("wan2.7-image-pro", ["4K", "4096*4096"]),
    ],
)
def test_documented_sizes_are_accepted(model, sizes):
    for size in sizes:
        width, height = MODELS[model].first_rule.sizes.measure(size)
        if "*" in size:
            assert f"{width}*{height}" == size
        else:
            assert width == height == int(size[0]) * 1024


@pytest.mark.parametrize(
    ("model", "sizes"),
    [
        ("wan2.6-t2i", ["1024*1024", "1279*1280", "1441*1440", "640*2564", "2K", "1280x1280", "", "0*0", "-1*5"]),
        ("wan2.2-t2i-flash", ["511*512", "512*1441"]),
        ("wanx-v1", ["1024*1025", "512*512"]),
        ("wan2.7-image", ["4K", "767*768", "2048*2049", "500*4096", "3K"]),
        ("wan2.7-image-pro", ["4097*4096"]),
    ],
)
def test_other_sizes_are_refused(model, sizes):
    for size in filter(None, sizes):
        with pytest.raises(SizeError):
            MODELS[model].first_rule.sizes.measure(size)


def test_the_default_sizes_are_the_documented_ones():
    defaults = {name: model.first_rule.sizes.measure(None) for name, model in MODELS.items()}
    assert defaults.pop("wan2.7-image") == defaults.pop("wan2.7-image-pro") == (2048, 2048)
    assert defaults.pop("wan2.6-t2i") == defaults.pop("wan2.5-t2i-preview") == (1280, 1280)
    assert {size for name, size in defaults.items() if name.startswith(("wan2.2", "wan2.1", "wanx"))} == {
        (1024, 1024)
    }


def test_an_operators_row_is_a_model_beside_the_documented_ones():
    models = add_models([{"id": "wan9-t2i", "protocol": "async", "max_n": 6, "prompt_limit": 9}])
    model = models["wan9-t2i"]
    assert set(models) == {*MODELS, "wan9-t2i"}
    assert (model.name, model.protocols) == ("wan9-t2i", {WireProtocol.ASYNC})
    assert (model.first_rule.most, model.prompt_limit) == (6, 9)
    assert model.first_rule.sizes.measure(None) == (1280, 1280)
    assert all(model.is_offered_in(region) for region in ("sandbox", "eu-central-1", "ap-southeast-1"))


def test_a_row_of_a_documented_model_changes_what_it_names():
    model = add_models([{"id": "WAN2.6-T2I", "protocol": ["sync", "legacy"]}])["wan2.6-t2i"]
    assert model.protocols == {WireProtocol.SYNC, WireProtocol.LEGACY}
    assert model.modes == MODELS["wan2.6-t2i"].modes


@pytest.mark.parametrize(
    ("sizes", "default", "good", "bad"),
    [
        ({"only": ["640x640", "1024*640"]}, (640, 640), "1024*640", "641*640"),
        ({"min_side": 300, "max_side": 700}, (512, 512), "700*300", "701*300"),
        ({"min_pixels": 90_000, "max_pixels": 1_200_000, "max_ratio": 2.5}, (1024, 1024), "500*200", "800*200"),
        ({"default_size": "1K", "grades": ["1K", "4K"]}, (1024, 1024), "4K", "2K"),
        ({"max_pixels": 4_500_000}, (1280, 1280), "2048*2048", "2200*2200"),
    ],
)
def test_the_sizes_of_a_row_are_read(sizes, default, good, bad):
    rule = add_models([{"id": "x", "protocol": "sync", "sizes": sizes}])["x"].first_rule.sizes
    assert rule.measure(None) == default
    rule.measure(good)
    with pytest.raises(SizeError):
        rule.measure(bad)


def test_what_cannot_be_read_in_a_row_counts_as_not_said():
    rows = [{}, {"id": 5}, {"id": "x", "protocol": {"a": 1}, "sizes": 7, "max_n": "many", "submit_rate": None}]
    model = add_models(rows)["x"]
    assert model.protocols == {WireProtocol.SYNC, WireProtocol.ASYNC}
    assert model.first_rule.most == 4
