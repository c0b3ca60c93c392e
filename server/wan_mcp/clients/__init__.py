"""
The programs that start wan-mcp, and how their configuration is written.

A registry of clients as data, editors that change one entry of a file and nothing else, and a writer that replaces a
file at once or not at all. What to do is worked out first, as a value that can be shown; only then is it done.
"""

from wan_mcp.clients.credentials import EXAMPLE_KEY, example_variables, redact_value
from wan_mcp.clients.entry import render_entry, render_snippet
from wan_mcp.clients.environment import RequestedVariables
from wan_mcp.clients.files import delete_backups
from wan_mcp.clients.install import (
    DetectedClient,
    InstallPlan,
    InstallResult,
    InstallTarget,
    apply_plan,
    detect_clients,
    find_key_copies,
    plan_install,
    plan_removal,
)
from wan_mcp.clients.launch import LaunchCommand, describe_this_process, find_launch_command
from wan_mcp.clients.registry import ANY_OTHER, CLIENTS, Client, Machine, find_client, find_config_path

__all__ = [
    "ANY_OTHER",
    "CLIENTS",
    "EXAMPLE_KEY",
    "Client",
    "DetectedClient",
    "InstallPlan",
    "InstallResult",
    "InstallTarget",
    "LaunchCommand",
    "Machine",
    "RequestedVariables",
    "apply_plan",
    "delete_backups",
    "describe_this_process",
    "detect_clients",
    "example_variables",
    "find_client",
    "find_config_path",
    "find_key_copies",
    "find_launch_command",
    "plan_install",
    "plan_removal",
    "redact_value",
    "render_entry",
    "render_snippet",
]
