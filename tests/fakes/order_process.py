"""A process with a service of its own that does as it is told on stdin, one JSON object a line, and answers on stdout."""

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import anyio

from fakes.order_service import make_settings, order, running_service
from wan_mcp_tools.domain.errors import AppError, DailyLimitError


async def place(service, *, prompts, wait):
    """Order every prompt at the same time."""
    answer = {"done": 0, "refused": 0, "troubles": []}

    async def one(prompt):
        try:
            task = await order(service, prompt, wait=wait)
            answer["done" if task.images else "troubles"] += 1 if task.images else [str(task.status)]
        except DailyLimitError:
            answer["refused"] += 1
        except AppError as error:
            answer["troubles"].append(str(error))

    async with anyio.create_task_group() as group:
        for prompt in prompts:
            group.start_soon(one, prompt)
    return answer


async def ask(service, *, task_id, times):
    """Ask for a task once, and then many times at once; answer when the first question was over."""
    queries = service._queries
    await queries.get_task("singapore", task_id)
    answer = {"warm": time.time(), "troubles": []}

    async def one():
        try:
            await queries.get_task("singapore", task_id)
        except AppError as error:
            answer["troubles"].append(str(error))

    async with anyio.create_task_group() as group:
        for _ in range(times):
            group.start_soon(one)
    return answer


async def obey(command, words):
    dashscope = SimpleNamespace(base_url=words.pop("base_url"), image_host=words.pop("image_host"))
    settings = make_settings(Path(words.pop("path")), dashscope, **words.pop("environ"))
    # Nobody dies here: a process that a busy machine holds up keeps its orders.
    async with running_service(settings, lease=60.0, renew_interval=5.0) as service:
        return await {"place": place, "ask": ask}[command](service, **words)


def main():
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        words = json.loads(line)
        print(json.dumps(anyio.run(obey, words.pop("command"), words)), flush=True)


if __name__ == "__main__":
    main()
