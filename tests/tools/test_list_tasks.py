"""What list_tasks says of costs, and what it passes on."""

import json
from datetime import date, timedelta

import pytest

from fakes.memory_service import MemoryService
from wan_mcp_tools.catalogue.prices import ImageCount
from wan_mcp_tools.domain.errors import RequestRefusedError
from wan_mcp_tools.list_tasks import ListTasksArguments, list_tasks

TODAY = date(2026, 1, 2)


async def call(counts=(), **arguments):
    service = MemoryService()
    service.counts = list(counts)
    answer = await list_tasks(service).run(ListTasksArguments(**arguments), None)
    return service, answer.result.model_dump(mode="json", exclude_none=True)


async def test_costs_are_told_by_day_and_model_with_the_month_of_the_prices():
    _, told = await call(
        [
            ImageCount(TODAY, "singapore", "wan2.6-t2i", charged=9, open=2),
            ImageCount(TODAY, "singapore", "wan2.7-image-pro", charged=2),
            ImageCount(TODAY - timedelta(days=1), "beijing", "wan2.6-t2i", charged=1, unclear=1),
        ],
        costs=True,
        since="yesterday",
    )
    costs = told["costs"]

    assert told["tasks"] == []
    assert (costs["images"], costs["cost"], costs["open_images"], costs["open_cost"]) == (
        12,
        "0.20 CNY and 0.42 USD",
        2,
        "0.06 USD",
    )
    assert [(day["day"], day["images"], day["cost"]) for day in costs["days"]] == [
        ("2026-01-02", 11, "0.42 USD"),
        ("2026-01-01", 1, "0.20 CNY"),
    ]
    assert costs["days"][0]["models"] == [
        {
            "images": 9,
            "cost": "0.27 USD",
            "open_images": 2,
            "open_cost": "0.06 USD",
            "model": "wan2.6-t2i",
            "region": "singapore",
        },
        {"images": 2, "cost": "0.15 USD", "model": "wan2.7-image-pro", "region": "singapore"},
    ]
    assert "earlier" not in costs
    assert told["message"] == (
        "Indicative, by prices of 2026-05; the service's bill is what counts. "
        "Not in the sums: 1 image of orders whose outcome is not known, charged or not."
    )


@pytest.mark.parametrize(("days", "models"), [(3650, 1), (60, 19), (2, 60)])
async def test_the_answer_stays_small_however_much_was_ordered(days, models):
    counts = [
        ImageCount(TODAY - timedelta(days=day), "singapore", f"wan2.6-t2i-{number}", charged=1_000)
        for day in range(days)
        for number in range(models)
    ]
    _, told = await call(counts, costs=True, since="2000-01-01")
    costs = told["costs"]
    listed = costs["days"]

    assert len(json.dumps(told)) < 4_000
    assert sum(len(day["models"]) for day in listed) <= 20
    earlier = costs["earlier"]
    assert earlier["day"] == (TODAY - timedelta(days=len(listed))).isoformat()
    assert sum(day["images"] for day in listed) + earlier["images"] == costs["images"] == 1_000 * days * models


async def test_costs_of_nothing_are_nothing():
    _, told = await call(costs=True)

    assert told["costs"] == {
        "images": 0,
        "cost": "free",
        "since": "2025-12-04",
        "until": "2026-01-02",
        "days": [],
    }
    assert "message" not in told


async def test_a_period_is_passed_on_and_costs_without_one_are_of_thirty_days():
    for arguments, period in (
        ({"since": "yesterday", "until": "today"}, ("yesterday", "today")),
        ({"costs": True, "until": "2026-01-01"}, (None, "2026-01-01")),
        ({"costs": True}, ("30 days", None)),
        ({"since": " ", "until": None}, (None, None)),
    ):
        service, _ = await call(**arguments)
        assert service.periods == [period]


@pytest.mark.parametrize("filtered", [{"status": "failed"}, {"cursor": "1"}, {"remote": True}])
async def test_costs_take_no_filter_but_a_period(filtered):
    with pytest.raises(RequestRefusedError, match="adds up all tasks"):
        await call(costs=True, **filtered)
