"""What the extension asks of whoever keeps the tasks."""

from collections.abc import Mapping
from typing import Any, Protocol

from mcp.types import CallToolRequestParams, CallToolResult, InputRequiredResult

from wan_mcp.mcp_server.tasks_extension.states import TaskState

Begun = TaskState | CallToolResult | InputRequiredResult | None
"""
What became of a call: a task; or an answer at once, because it was refused or is done already; or a question that
comes before there is a task; or None, if this call is none that becomes a task.
"""


class KeeperError(Exception):
    """Raised when the keeper cannot answer now; the client is told the message."""


class UnknownTaskError(KeeperError):
    """Raised when there is no such task, or no longer."""


class TaskKeeper(Protocol):
    """
    Keeps the tasks of one server.

    An id is all that a client needs to reach a task: ids must be impossible to guess.
    """

    async def begin(self, call: CallToolRequestParams) -> Begun:
        """
        Begin the task of a call, or answer it otherwise.

        A task that is given is kept already: `get` finds it, also after the server has been restarted if the
        keeper outlives that.
        """
        ...

    async def get(self, task_id: str) -> TaskState:
        """
        Give a task as it is now, under the id that was asked for.

        Raises:
            UnknownTaskError: there is none.
        """
        ...

    async def cancel(self, task_id: str) -> None:
        """
        Take note that nobody wants the task any more. Whether it then ends as cancelled is the keeper's decision.

        Raises:
            UnknownTaskError: there is none.
        """
        ...

    async def update(self, task_id: str, responses: Mapping[str, Any]) -> None:
        """
        Take answers to what a task has asked; names that are not open are ignored.

        Raises:
            UnknownTaskError: there is none.
        """
        ...
