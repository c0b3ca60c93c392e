"""The switches of the sandbox."""

from dataclasses import dataclass

DAY = 86_400.0
"""Seconds: how long the service keeps a task record, and how long a link to an image lives."""


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """
    How the look-alike behaves. Times in seconds.

    `keys` are the accepted API keys; None accepts any that is not empty. `region` is the region id that the task
    list shows; the id of a real region also limits the models to those of that region. A task is done `duration`
    after its submission, `pending` of which it waits. `link_life` counts from the end of the task.
    `throttle` is the number of submissions a second for each model, `concurrency` the number of tasks of one model
    that run at once; None means the documented limit of the model. `query_throttle` is the number of queries
    a second, and likewise of list and of cancel calls. `public_url` is the base of the image links; None takes it
    from each request.
    """

    keys: frozenset[str] | None = None
    region: str = "sandbox"
    duration: float = 2.0
    pending: float = 0.3
    link_life: float = DAY
    throttle: float | None = None
    query_throttle: float = 20.0
    concurrency: int | None = None
    public_url: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.pending <= self.duration:
            raise ValueError("pending must lie between 0 and duration")
        if self.link_life <= 0 or self.query_throttle <= 0 or (self.throttle is not None and self.throttle <= 0):
            raise ValueError("link_life, throttle and query_throttle must be positive")
        if self.concurrency is not None and self.concurrency < 1:
            raise ValueError("concurrency must be at least 1")
