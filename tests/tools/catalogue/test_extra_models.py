"""The operator's own rows of the catalogue."""

from types import MappingProxyType

import pytest

from wan_mcp_tools.catalogue.catalogue import MODELS, Catalogue
from wan_mcp_tools.catalogue.model import WireProtocol
from wan_mcp_tools.catalogue.regions import REGIONS
from wan_mcp_tools.domain.errors import RequestRefusedError, SettingsError

SYNC, ASYNC = WireProtocol.SYNC, WireProtocol.ASYNC


def settings_error(*rows):
    with pytest.raises(SettingsError) as caught:
        Catalogue(rows)
    assert "WAN_MCP_EXTRA_MODELS" in str(caught.value)
    return caught.value.message


def test_an_extra_model_needs_no_more_than_an_id_and_a_protocol():
    model = Catalogue([MappingProxyType({"id": "wan3.0-t2i", "protocol": "async"})]).find("WAN3.0-T2I")
    assert set(model.region_names) == {region.name for region in REGIONS}
    assert model.choose_protocol("tokyo", prefer_sync=True) is ASYNC
    assert model.wire_id("tokyo") == "wan3.0-t2i"
    assert (model.max_n, model.prompt_limit, model.negative_prompt_limit) == (4, 5000, 500)
    assert model.has_prompt_extend
    assert model.sizes.resolve(None) == "1280*1280"
    assert model.sizes.resolve("4K") == "4096*4096"
    assert model.submit_rate("singapore") > 0


def test_an_extra_model_is_what_its_row_says():
    row = {
        "id": "wan3.0-image",
        "protocol": ["sync", "async"],
        "regions": ["ap-southeast-1", "beijing"],
        "sizes": {"min_pixels": 1_000_000, "max_pixels": 4_000_000, "max_ratio": 3, "default_size": "1200x1200"},
        "max_n": 6,
        "prompt_limit": 300,
        "negative_prompt_limit": None,
        "prompt_extend": False,
        "submit_rate": 0.5,
    }
    model = Catalogue([row]).find("wan3.0-image")
    assert model.region_names == ("singapore", "beijing", "sandbox")
    assert model.choose_protocol("singapore", prefer_sync=True) is SYNC
    assert model.sizes.resolve(None) == "1200*1200"
    assert not model.sizes.allows("2001*2000")
    assert not model.sizes.allows("4:1")
    assert (model.max_n, model.prompt_limit, model.negative_prompt_limit) == (6, 300, None)
    assert not model.has_prompt_extend
    assert model.submit_rate("beijing") == 0.5


def test_an_extra_model_may_limit_its_sides_or_list_its_sizes():
    catalogue = Catalogue(
        [
            {"id": "by-side", "protocol": "legacy", "sizes": {"min_side": 600, "max_side": 900}},
            {"id": "by-list", "protocol": "sync", "sizes": {"only": ["1664*928", "928x1664"]}},
            {"id": "by-grade", "protocol": "sync", "sizes": {"grades": ["2K"], "default_size": "2K"}},
        ]
    )
    assert catalogue.find("by-side").sizes.resolve(None) == "768*768"
    assert not catalogue.find("by-side").sizes.allows("901*600")
    assert catalogue.find("by-list").sizes.resolve(None) == "1664*928"
    assert catalogue.find("by-list").choose_protocol("singapore", prefer_sync=False) is SYNC
    assert not catalogue.find("by-list").sizes.allows("1024*1024")
    assert catalogue.find("by-grade").sizes.resolve(None) == "2K"
    assert catalogue.find("by-grade").sizes.allows("16:9")


def test_a_row_for_a_built_in_model_changes_what_it_names_and_keeps_the_rest():
    row = {"id": "wanx2.1-t2i-plus", "protocol": "legacy", "regions": ["beijing", "tokyo"], "prompt_limit": 900}
    catalogue = Catalogue([row])
    model = catalogue.find("wan2.1-t2i-plus")
    assert model.region_names == ("beijing", "tokyo", "sandbox")
    assert model.prompt_limit == 900
    assert model.negative_prompt_limit == 500
    assert model.wire_id("beijing") == "wanx2.1-t2i-plus"
    assert model.price("beijing").currency == "CNY"
    assert [each.id for each in catalogue.models] == [each.id for each in MODELS]


def test_a_row_may_give_a_built_in_model_another_protocol_and_take_a_parameter_away():
    row = {"id": "WAN2.6-T2I", "protocol": "sync", "negative_prompt_limit": None, "prompt_extend": False}
    model = Catalogue([row]).find("wan2.6-t2i")
    assert {model.choose_protocol(region, prefer_sync=False) for region in model.region_names} == {SYNC}
    assert model.negative_prompt_limit is None
    assert not model.has_prompt_extend
    assert model.submit_rate("beijing") == 1
    assert (model.prompt_limit, model.max_n) == (2100, 4)
    assert model.sizes == next(each.sizes for each in MODELS if each.id == "wan2.6-t2i")


def test_a_row_may_be_for_the_sandbox_alone():
    assert Catalogue([{"id": "x", "protocol": "sync", "regions": "sandbox"}]).find("x").region_names == ("sandbox",)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"protocol": "async"}, "id"),
        ({"id": "x"}, "protocol"),
        ({"id": "", "protocol": "async"}, "id"),
        ({"id": "two words", "protocol": "async"}, "id"),
        ({"id": "x", "protocol": "grpc"}, "'sync', 'async' or 'legacy'"),
        ({"id": "x", "protocol": []}, "protocol"),
        ({"id": "x", "protocol": "async", "regions": ["mars"]}, "mars"),
        ({"id": "x", "protocol": "async", "regions": []}, "regions"),
        ({"id": "x", "protocol": "async", "regions": [7]}, "regions.0"),
        ({"id": "x", "protocol": "async", "max_n": 0}, "max_n"),
        ({"id": "x", "protocol": "async", "max_n": True}, "max_n"),
        ({"id": "x", "protocol": "async", "submit_rate": 0}, "submit_rate"),
        ({"id": "x", "protocol": "async", "submit_rate": float("nan")}, "submit_rate"),
        ({"id": "x", "protocol": "async", "prompt_extend": "maybe"}, "prompt_extend"),
        ({"id": "x", "protocol": "async", "promt_limit": 3}, "promt_limit"),
        ({"id": "x", "protocol": "async", "sizes": {"min_pixels": 10, "max_side": 10}}, "sizes"),
        ({"id": "x", "protocol": "async", "sizes": {"min_side": 900, "max_side": 600}}, "900"),
        ({"id": "x", "protocol": "async", "sizes": {"min_pixels": 3_000_000, "max_pixels": 2_000_000}}, "3000000"),
        ({"id": "x", "protocol": "async", "sizes": {"min_side": 700, "max_side": 710}}, "default_size"),
        ({"id": "x", "protocol": "async", "sizes": {"max_side": 900, "default_size": "1024*1024"}}, "1024*1024"),
        ({"id": "x", "protocol": "async", "sizes": {"only": ["big"]}}, "big"),
        ({"id": "x", "protocol": "async", "sizes": {"grades": ["8K"]}}, "sizes.grades.0"),
        ("wan3", "is not a JSON object"),
    ],
)
def test_a_wrong_row_is_named_with_what_is_wrong(row, said):
    assert said in settings_error(row)


def test_the_number_of_the_wrong_row_is_said():
    assert "row 2" in settings_error({"id": "x", "protocol": "async"}, {"id": "y"})


def test_two_rows_for_one_model_are_refused():
    assert "twice" in settings_error({"id": "x", "protocol": "async"}, {"id": "X", "protocol": "sync"})
    assert "twice" in settings_error(
        {"id": "wan2.1-t2i-plus", "protocol": "legacy"}, {"id": "wanx2.1-t2i-plus", "protocol": "legacy"}
    )


def test_a_list_of_sizes_or_a_single_odd_size_needs_no_common_square():
    row = {"id": "x", "protocol": "async", "sizes": {"min_side": 700, "max_side": 710, "default_size": "704*704"}}
    rule = Catalogue([row]).find("x").sizes
    assert rule.resolve(None) == "704*704"
    assert rule.resolve("1:1") == "704*704"
    with pytest.raises(RequestRefusedError, match=r"16:9 is not"):
        rule.resolve("16:9")


def test_an_extra_model_can_be_ordered_with_its_own_limits():
    row = {"id": "wan3", "protocol": "async", "max_n": 2, "prompt_limit": 5, "prompt_extend": False}
    catalogue = Catalogue([row], default_model="wan3", default_region="tokyo")
    request = catalogue.make_request(prompt="12345", n=2)
    assert (request.model, request.region, request.prompt_extend) == ("wan3", "tokyo", None)
    with pytest.raises(RequestRefusedError, match="from 1 to 2"):
        catalogue.make_request(prompt="x", n=3)
    with pytest.raises(RequestRefusedError, match="6 characters"):
        catalogue.make_request(prompt="123456")
