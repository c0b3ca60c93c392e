"""
What a caller can do next, as data.

An error, a task or an image says which step helps (`NextAction`) and what it is about (`NextStep`). Each edge has
the words: `wan_mcp_tools.results` names tools and their arguments, the command line names its commands, a page has
buttons. So whoever raises or builds one writes no tool's name into a sentence:

    raise NotFoundError(
        f"No order {task_id} is in this ledger.",
        code=ErrorCode.TASK_NOT_FOUND,
        next_step=NextStep(NextAction.LIST_LEDGER),
    )
"""

from datetime import datetime
from enum import StrEnum

from wan_mcp_tools.domain.record import Record


class NextAction(StrEnum):
    """
    Everything that a caller is ever advised to do with a tool or a command.

    What needs neither, such as "Rephrase the prompt.", is the plain `advice` of an error. The comment of each member
    says what the step must carry besides.
    """

    WAIT_FOR_RESULT = "wait_for_result"
    """The task is in the queue or runs: wait for it; it is saved in any case. `task_id`."""
    WAIT_FOR_CONFIRMATION = "wait_for_confirmation"
    """The service has not accepted the order yet: wait, and do not order again. `task_id`."""
    WAIT_FOR_FILES = "wait_for_files"
    """The task succeeded and its images are being saved: wait. `task_id`."""
    WAIT_FOR_SEARCH = "wait_for_search"
    """The answer was lost and the task is looked for: wait, and do not order again, it may be paid for. `task_id`."""
    WAIT_FIRST = "wait_first"
    """What was asked needs images, and there are none yet: wait for the task first. `task_id`."""
    GET_LATER = "get_later"
    """Images could not be saved and are tried again: ask later; they are paid, do not order again. `task_id`."""
    GET_TASK = "get_task"
    """Look at the task as it is. `task_id`."""
    GET_TASK_TO_COLLECT = "get_task_to_collect"
    """The task goes on to its end: collect it. `task_id`."""
    GET_TASK_FOR_REASON = "get_task_for_reason"
    """The task says why an image is not there. `task_id`."""
    GET_TASK_AGAIN = "get_task_again"
    """A region did not answer: ask for the task again in a moment."""
    CHECK_CANCELLATION = "check_cancellation"
    """Nobody has answered in time: look whether the task was cancelled."""
    CHECK_DOWNLOAD = "check_download"
    """Nobody has answered in time: look where the task stands, then call again."""
    CANCEL_AGAIN = "cancel_again"
    """The order is being sent: cancel it again in a moment."""
    ORDER_AT_RISK = "order_at_risk"
    """Nobody can know whether it was ordered: order anew only if a second charge is acceptable."""
    COMPARE_CANDIDATES = "compare_candidates"
    """Several tasks may be the order's: look at their pictures; order anew only if none is and at that risk."""
    LIST_SERVICE_OR_ORDER_AT_RISK = "list_service_or_order_at_risk"
    """The task was not found: look at the service's recent tasks; order anew only at the risk of a second charge."""
    LIST_TASKS = "list_tasks"
    """The service does not know the task: see those that are known."""
    LIST_KNOWN_TASKS = "list_known_tasks"
    """Neither the ledger nor the service knows the id: see the tasks that are known."""
    LIST_LEDGER = "list_ledger"
    """The ledger has no such order: see those that it has."""
    LIST_LEDGER_OR_ASK = "list_ledger_or_ask"
    """The ledger has no such task: see those that it has, or ask the service for this one."""
    CORRECT_TASK_ID = "correct_task_id"
    """This is no task id: use one of an earlier answer or of the list."""
    FETCH_AGAIN = "fetch_again"
    """The file is gone and the service still has the image: fetch it, free of charge. `task_id`, `index`, `until`."""
    REPLACE_LEDGER = "replace_ledger"
    """The ledger is damaged: move its file away and call again; the service lists the tasks of 24 hours."""

    @property
    def is_wait(self) -> bool:
        """Whether waiting for the task brings something by itself."""
        return self in _WAITS


_WAITS = frozenset(
    {
        NextAction.WAIT_FOR_RESULT,
        NextAction.WAIT_FOR_CONFIRMATION,
        NextAction.WAIT_FOR_FILES,
        NextAction.WAIT_FOR_SEARCH,
        NextAction.WAIT_FIRST,
    }
)


class NextStep(Record):
    """
    A step and what it is about.

    `task_id` is the best id known, the service's or a `local-…` one; `index` counts images from 1; `until` is the
    moment from which on the step helps no more.
    """

    action: NextAction
    task_id: str | None = None
    index: int | None = None
    until: datetime | None = None
