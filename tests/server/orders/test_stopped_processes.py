"""
A process is held still for longer than its leases, as under a laptop's lid, and goes on later.

Meanwhile another has taken its orders over. Whatever it then says late is taken in, and nothing is done twice.
"""

import pytest

from campaigns.support import (
    LEGACY,
    NEW,
    TIMINGS,
    is_idle,
    make_line,
    make_report,
    open_pool,
    read_order,
    second_service,
    stop_unlocked,
)
from fakes.clock import until
from fakes.dashscope import FakeService

MODELS = pytest.mark.parametrize("model", [NEW, LEGACY])


@MODELS
async def test_an_id_that_comes_after_the_task_was_found_changes_nothing(tmp_path, model):
    with FakeService(duration=0.1) as service, open_pool(tmp_path, service) as pool:
        service.script("create", "held")
        worker = pool.start()
        pool.send(worker, make_line(model))
        await until(lambda: service.tasks)
        await stop_unlocked(pool, worker, tmp_path)
        service.release()
        async with second_service(tmp_path, service):
            await until(is_idle(tmp_path))
        pool.resume(worker)
        await until(lambda: (event := pool.next_event(0)) and "id" in (event[1] or {}))

        report = make_report(service, tmp_path)
    assert not report.broken, str(report)
    assert report.creates == report.recovered == 1
    assert report.files == 2


async def test_an_id_that_comes_while_the_task_is_looked_for_ends_the_search(tmp_path):
    with FakeService(duration=0.1, list_lag=1000) as service, open_pool(tmp_path, service) as pool:
        service.script("create", "held")
        worker = pool.start()
        pool.send(worker, make_line(NEW))
        await until(lambda: service.tasks)
        await stop_unlocked(pool, worker, tmp_path)
        service.release()
        async with second_service(tmp_path, service, search_grace=3.0):
            await until(lambda: read_order(tmp_path)["stage"] == "LOST")
            pool.resume(worker)
            await until(lambda: read_order(tmp_path)["task_id"])
            await until(is_idle(tmp_path))

        report = make_report(service, tmp_path)
    assert not report.broken, str(report)
    assert read_order(tmp_path)["status"] == "SUCCEEDED"
    assert (report.creates, report.files) == (1, 2)


async def test_an_id_that_comes_after_the_search_was_given_up_is_still_good_news(tmp_path):
    with FakeService(duration=0.1, list_lag=1000) as service, open_pool(tmp_path, service) as pool:
        service.script("create", "held")
        worker = pool.start()
        pool.send(worker, make_line(LEGACY))
        await until(lambda: service.tasks)
        await stop_unlocked(pool, worker, tmp_path)
        service.release()
        async with second_service(tmp_path, service):
            await until(is_idle(tmp_path))
            assert read_order(tmp_path)["status"] == "SUBMIT_UNKNOWN"
            pool.resume(worker)
            await until(lambda: read_order(tmp_path)["task_id"])
            await until(is_idle(tmp_path))

        report = make_report(service, tmp_path)
    assert not report.broken, str(report)
    assert read_order(tmp_path)["status"] == "SUCCEEDED"
    assert (report.creates, report.files) == (1, 2)


async def test_an_id_that_comes_late_is_followed_when_nobody_else_is_there_any_more(tmp_path):
    with FakeService(duration=0.1, list_lag=1000) as service, open_pool(tmp_path, service) as pool:
        service.script("create", "held")
        worker = pool.start()
        pool.send(worker, make_line(NEW))
        await until(lambda: service.tasks)
        await stop_unlocked(pool, worker, tmp_path)
        service.release()
        async with second_service(tmp_path, service):
            await until(is_idle(tmp_path))
        pool.resume(worker)
        await until(lambda: read_order(tmp_path)["task_id"])
        await until(is_idle(tmp_path))

        report = make_report(service, tmp_path)
    assert not report.broken, str(report)
    assert read_order(tmp_path)["status"] == "SUCCEEDED"


async def test_a_download_that_goes_on_late_leaves_one_file(tmp_path):
    with FakeService(duration=0.1, image_padding=600_000) as service, open_pool(tmp_path, service) as pool:
        service.script("image", "held", "held")
        worker = pool.start()
        pool.send(worker, make_line(NEW))
        await until(lambda: sum(each.sent > 0 for each in service.images_served) == 2)
        await stop_unlocked(pool, worker, tmp_path)
        async with second_service(tmp_path, service):
            await until(is_idle(tmp_path))
            service.release()
            pool.resume(worker)
            await until(lambda: (event := pool.next_event(0)) and "id" in (event[1] or {}))

        report = make_report(service, tmp_path)
    assert not report.broken, str(report)
    assert (report.creates, report.files) == (1, 2)


async def test_a_process_that_is_alone_goes_on_where_it_was_held(tmp_path):
    with FakeService(duration=0.5) as service, open_pool(tmp_path, service) as pool:
        worker = pool.start()
        pool.send(worker, make_line(NEW))
        await until(service.count_queries)
        await stop_unlocked(pool, worker, tmp_path)
        held_since = service.now()
        await until(lambda: service.now() > held_since + TIMINGS.lease + 0.2)
        pool.resume(worker)
        await until(is_idle(tmp_path))

        report = make_report(service, tmp_path)
    assert not report.broken, str(report)
    assert report.files == 2
