"""What is wrong, and what helps: every check is free of charge, orders nothing and changes nothing."""

from wan_mcp.doctor.examination import examine
from wan_mcp.doctor.finding import Finding, Verdict
from wan_mcp.doctor.world import World

__all__ = ["Finding", "Verdict", "World", "examine"]
