"""
The programs that start wan-mcp, and how their configuration is written.

A table of clients as data, editors that change one entry of a file and nothing else, and a writer that replaces a
file at once or not at all. What to do is worked out first, as a value that can be shown; only then is it done.
"""

from wan_mcp.hosts.entry import SAMPLE_KEY, hide_secrets
from wan_mcp.hosts.environment import Wishes
from wan_mcp.hosts.keys import sample
from wan_mcp.hosts.launch import Launch, describe_this_process, find_launch
from wan_mcp.hosts.places import World
from wan_mcp.hosts.proposals import (
    Order,
    Outcome,
    Proposal,
    Sighting,
    carry_out,
    locate,
    look_around,
    propose,
    propose_removal,
    snippet,
)
from wan_mcp.hosts.table import ANY_OTHER, HOSTS, Host, find_host

__all__ = [
    "ANY_OTHER",
    "HOSTS",
    "SAMPLE_KEY",
    "Host",
    "Launch",
    "Order",
    "Outcome",
    "Proposal",
    "Sighting",
    "Wishes",
    "World",
    "carry_out",
    "describe_this_process",
    "find_host",
    "find_launch",
    "hide_secrets",
    "locate",
    "look_around",
    "propose",
    "propose_removal",
    "sample",
    "snippet",
]
