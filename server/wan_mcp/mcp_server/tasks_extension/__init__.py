"""
The tasks of MCP: a server that needs long for a call answers it with a task, and the client asks again.

This package knows the protocol and nothing of what the tasks are about; whoever keeps the tasks fulfils `TaskKeeper`.

Source: https://modelcontextprotocol.io/seps/2663-tasks-extension
"""

from wan_mcp.mcp_server.tasks_extension.extension import IDENTIFIER, TasksExtension, guard_listening
from wan_mcp.mcp_server.tasks_extension.keeper import Begun, KeeperError, TaskKeeper, UnknownTaskError
from wan_mcp.mcp_server.tasks_extension.states import Cancelled, Completed, Failed, InputRequired, TaskState, Working

__all__ = [
    "IDENTIFIER",
    "Begun",
    "Cancelled",
    "Completed",
    "Failed",
    "InputRequired",
    "KeeperError",
    "TaskKeeper",
    "TaskState",
    "TasksExtension",
    "UnknownTaskError",
    "Working",
    "guard_listening",
]
