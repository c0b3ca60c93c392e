"""
How soon a finished task is noticed, and how many questions that takes.

Simulates tasks of known running times under three plans: ours, every ten seconds, and the official SDK's (1 s,
doubled every third poll, at most 5 s). Prints, for each, the mean delay between a task's end and its notice, and the
mean number of polls. The same tasks for each plan; run it with `python bench/polling.py`.
"""

import random
from collections.abc import Callable, Iterator

from wan_mcp.orders.worker.poll import PollPlan

TASKS = 20_000
LEARNED = 50


def ours(pace: PollPlan) -> Iterator[float]:
    """Give the moments at which our plan asks."""
    moment = pause = pace.first()
    while True:
        yield moment
        pause = pace.next(moment, pause)
        moment += pause


def fixed() -> Iterator[float]:
    """Ask every ten seconds."""
    moment = 0.0
    while True:
        moment += 10
        yield moment


def official() -> Iterator[float]:
    """Ask as the official SDK does: at once, then after 1 s, doubled every third time, at most 5 s."""
    moment, pause, count = 0.0, 1.0, 0
    while True:
        yield moment
        count += 1
        if count % 3 == 0:
            pause = min(pause * 2, 5.0)
        moment += pause


def measure(durations: list[float], plan: Callable[[], Iterator[float]]) -> tuple[float, float]:
    """Give mean delay in seconds and mean polls for each task."""
    delay = polls = 0.0
    for duration in durations:
        for count, moment in enumerate(plan(), 1):
            if moment >= duration:
                delay += moment - duration
                polls += count
                break
    return delay / len(durations), polls / len(durations)


def main() -> None:
    """Print the table."""
    print(f"{'median':>7} {'spread':>7} | {'ours':>15} | {'official SDK':>15} | {'every 10 s':>15}")
    for median, spread in ((12.0, 0.3), (20.0, 0.25), (20.0, 0.5), (35.0, 0.3), (60.0, 0.25), (60.0, 0.5)):
        dice = random.Random(1)
        durations = [median * 2.718281828 ** dice.gauss(0, spread) for _ in range(TASKS + LEARNED)]
        pace = PollPlan.learn(durations[:LEARNED])
        row = [measure(durations[LEARNED:], plan) for plan in (lambda p=pace: ours(p), official, fixed)]
        cells = " | ".join(f"{delay:5.2f} s {polls:5.2f} p" for delay, polls in row)
        print(f"{median:6.0f}s {spread:7.2f} | {cells}")


if __name__ == "__main__":
    main()
