"""What is wrong, and what helps: every check is free of charge, orders nothing and changes nothing."""

from wan_mcp.doctor.run import run_checks
from wan_mcp.doctor.types import Environment, Finding, Verdict

__all__ = ["Environment", "Finding", "Verdict", "run_checks"]
