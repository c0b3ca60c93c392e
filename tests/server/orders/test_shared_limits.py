"""Four real processes on one ledger keep the account's limits together."""

from fakes.dashscope import FakeService
from fakes.order_service import make_settings, saved_files
from fakes.processes import Processes
from wan_mcp_tools.catalogue.catalogue import Catalogue

MODEL = "wan2.6-t2i"
PROCESSES = 4
ALLOWED = 20
"""Queries a second that the service answers for one account."""


def count_in_worst_second(moments):
    moments = sorted(moments)
    return max(sum(1 for other in moments if start <= other < start + 1) for start in moments)


def race(service, command, path, *, environ=None, **words):
    with Processes(PROCESSES, "fakes.order_process") as processes:
        return processes.run_all(
            command,
            path=path,
            environ=environ or {},
            base_url=service.base_url,
            image_host=service.image_host,
            **words,
        )


def test_four_processes_keep_the_daily_limit_to_the_image_and_the_models_rate(tmp_path):
    rate = Catalogue().find(MODEL).submit_rate("singapore")
    with FakeService(duration=0.2) as service:
        prompts = [f"a flower shop {number}" for number in range(4)]
        answers = race(
            service, "place", tmp_path, environ={"WAN_MCP_DAILY_IMAGE_LIMIT": "13"}, prompts=prompts, wait=45
        )

    assert [answer["troubles"] for answer in answers] == [[]] * PROCESSES
    assert sum(answer["done"] for answer in answers) == 13
    assert sum(answer["refused"] for answer in answers) == PROCESSES * len(prompts) - 13
    assert service.paid_images() == len(service.creates) == 13
    # Turns in a row reach the service together where a machine is busy; of four limits there would be four times as many.
    assert count_in_worst_second([create.time for create in service.creates]) <= 2 * rate + 1
    assert len(saved_files(make_settings(tmp_path))) == 13


def test_four_processes_together_ask_no_faster_than_the_account_may(tmp_path):
    with FakeService(duration=0.2) as service:
        task_id = service.create_foreign(model=MODEL).task_id
        answers = race(service, "ask", tmp_path, task_id=task_id, times=18)

    assert [answer["troubles"] for answer in answers] == [[]] * PROCESSES
    # The first question of a process comes late by the time that it takes to connect.
    warm = max(answer["warm"] for answer in answers)
    moments = [call.time for call in service.requests if call.host == "api" and call.time > warm]
    assert len(moments) >= ALLOWED
    assert count_in_worst_second(moments) <= 2 * ALLOWED
