"""The rows of uploads, on both databases: how many count, and which are over."""

import pytest

from wan_mcp.ledger import DAY, Upload
from wan_mcp_tools.domain.errors import CallLimitError

BACK_ENDS = ("sqlite", "postgres")


def make_row(number):
    return Upload(f"upload-{number:032x}", "ada", "/pictures/a.png", width=1, height=1, bytes=10)


async def test_what_is_stored_counts_for_a_day_and_what_is_not_for_ten_minutes(ledger, clock):
    async def reserve(number):
        await ledger.uploads.reserve(make_row(number), lifetime=DAY, most=2, most_bytes=1000)

    await reserve(0)
    await ledger.uploads.confirm(make_row(0).id)
    clock.advance(60)
    await reserve(1)
    with pytest.raises(CallLimitError) as refused:
        await reserve(2)
    assert refused.value.retry_after == pytest.approx(600)
    clock.advance(601)
    await reserve(2)
    await ledger.uploads.confirm(make_row(2).id)
    with pytest.raises(CallLimitError) as refused:
        await reserve(3)
    assert refused.value.retry_after == pytest.approx(DAY - 661)


async def test_those_that_are_over_are_read_by_and_by(ledger, clock):
    for number in range(3):
        await ledger.uploads.reserve(make_row(number), lifetime=DAY, most=9, most_bytes=1000)
        clock.advance(1)
    clock.advance(DAY)

    found = [await ledger.uploads.list_over(since=0, limit=2, skipped=skipped) for skipped in (0, 2, 3)]

    assert [[each.id for each in page] for page in found] == [
        [make_row(0).id, make_row(1).id],
        [make_row(2).id],
        [],
    ]
