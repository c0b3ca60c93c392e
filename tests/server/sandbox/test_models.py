"""What the service offers: which sizes each model paints."""

import pytest

from wan_mcp.sandbox.models import MODELS, SizeError

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
        width, height = MODELS[model].sizes.measure(size)
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
            MODELS[model].sizes.measure(size)


def test_the_default_sizes_are_the_documented_ones():
    defaults = {name: model.sizes.measure(None) for name, model in MODELS.items()}
    assert defaults.pop("wan2.7-image") == defaults.pop("wan2.7-image-pro") == (2048, 2048)
    assert defaults.pop("wan2.6-t2i") == defaults.pop("wan2.5-t2i-preview") == (1280, 1280)
    assert set(defaults.values()) == {(1024, 1024)}
    assert len(defaults) == 8
