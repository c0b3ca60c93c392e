"""Names that are used up once, by all processes on a ledger."""

import anyio

BACK_ENDS = ("sqlite", "postgres")


async def test_a_name_is_used_once_by_all_and_free_again_when_its_time_is_over(ledger, clock):
    assert not await ledger.used_names.is_used("one")
    assert await ledger.used_names.use("one", seconds=10)
    assert not await ledger.used_names.use("one", seconds=10)
    assert await ledger.used_names.is_used("one")
    assert await ledger.used_names.use("two", seconds=10)
    clock.advance(11)
    assert await ledger.used_names.use("one", seconds=10)


async def test_of_many_at_once_one_is_first(ledger):
    first = []

    async def use() -> None:
        if await ledger.used_names.use("one", seconds=10):
            first.append(1)

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(use)

    assert first == [1]
