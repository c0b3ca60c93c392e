"""
Check wan-mcp with programs of others; `.ci/interop` starts this with everything that it needs.

    python tests/interop/run.py --node NODE --modules FOLDER --folder FOLDER [--only CHECK] -- SERVER COMMAND...

Prints what is wrong and a summary, and ends with 1 if anything is.
"""

import argparse
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
from behind_nginx import check_behind_nginx
from client_matrix import check_conversations
from environment import Environment, Findings
from programs import check_conformance, check_in_browser, check_with_inspector
from signing_in import check_signing_in

CHECKS: dict[str, Callable[[Environment], Awaitable[Findings]]] = {
    "conversations": check_conversations,
    "inspector": check_with_inspector,
    "conformance": check_conformance,
    "signing-in": check_signing_in,
    "browser": check_in_browser,
    "nginx": check_behind_nginx,
}


def main() -> int:
    options = _read_options()
    environment = Environment(
        server=options.server,
        python=sys.executable,
        node=options.node,
        modules=options.modules,
        folder=options.folder,
        chromium=options.chromium or None,
    )
    faulty = 0
    for name in options.only or CHECKS:
        started = time.monotonic()
        try:
            findings = anyio.run(CHECKS[name], environment)
        except Exception:  # noqa: BLE001 - the other checks still run, and this is a fault as well
            findings = {"the check itself": [traceback.format_exc()]}
        sys.stdout.write(f"{name} ({time.monotonic() - started:.0f} s)\n")
        for subject, faults in findings.items():
            _tell(subject, faults)
        sys.stdout.flush()
        faulty += sum(1 for faults in findings.values() if isinstance(faults, list) and faults)
    sys.stdout.write(f"{faulty} of the checks find faults.\n" if faulty else "No check finds a fault.\n")
    return 1 if faulty else 0


def _tell(subject: str, faults: list[str] | str) -> None:
    if isinstance(faults, str):
        sys.stdout.write(f"  skipped  {subject}: {faults}\n")
        return
    sys.stdout.write(f"  {'FAULT' if faults else 'ok':7}  {subject}\n")
    for fault in faults:
        sys.stdout.write("".join(f"           {line}\n" for line in fault.splitlines()))


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Check wan-mcp with programs of others.")
    parser.add_argument("--node", required=True)
    parser.add_argument("--modules", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--chromium", default="")
    parser.add_argument("--only", action="append", choices=CHECKS)
    parser.add_argument("server", nargs="+")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
