"""A model that the operator added by WAN_MCP_EXTRA_MODELS is painted by the sandbox as any other."""

import json

import pytest

from fakes.order_service import HURRIED_WAIT, hurried_service, make_settings, order


@pytest.mark.parametrize(
    ("row", "words", "size"),
    [
        ({"protocol": "async"}, {}, (1280, 1280)),
        ({"protocol": "sync"}, {"size": "768*768"}, (768, 768)),
        ({"protocol": "legacy"}, {"size": "768*768"}, (768, 768)),
        ({"protocol": ["sync", "async"], "regions": ["singapore"]}, {"size": "16:9"}, None),
        ({"protocol": "async", "sizes": {"only": ["640*640", "320*640"]}}, {"size": "320x640"}, (320, 640)),
        ({"protocol": "legacy", "sizes": {"min_side": 300, "max_side": 700}}, {}, (512, 512)),
        ({"protocol": "sync", "sizes": {"max_pixels": 300_000}}, {}, (512, 512)),
        ({"protocol": "async", "sizes": {"grades": ["1K"], "default_size": "1K"}}, {}, (1024, 1024)),
        ({"protocol": "async", "max_n": 6, "sizes": {"only": ["512*512"]}}, {"n": 6}, (512, 512)),
        (
            {"protocol": "async", "prompt_extend": False, "negative_prompt_limit": None},
            {"size": "768*768"},
            (768, 768),
        ),
    ],
)
async def test_an_added_model_works_in_the_sandbox(tmp_path, row, words, size):
    rows = json.dumps([{"id": "wan9-t2i", **row}])
    settings = make_settings(tmp_path, WAN_MCP_EXTRA_MODELS=rows, WAN_MCP_MODEL="wan9-t2i")

    async with hurried_service(settings) as service:
        task = await order(service, wait=HURRIED_WAIT, **words)

    assert task.status == "SUCCEEDED", task
    assert len(task.images) == words.get("n", 1)
    if size is not None:
        assert {(image.width, image.height) for image in task.images} == {size}


async def test_a_built_in_model_that_the_operator_changed_works_in_the_sandbox(tmp_path):
    rows = json.dumps([{"id": "wan2.2-t2i-flash", "protocol": "async", "sizes": {"only": ["256*256"]}}])
    settings = make_settings(tmp_path, WAN_MCP_EXTRA_MODELS=rows)

    async with hurried_service(settings) as service:
        task = await order(service, wait=HURRIED_WAIT, model="wan2.2-t2i-flash")

    assert [(image.width, image.height) for image in task.images] == [(256, 256)]
