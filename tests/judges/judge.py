"""
Let programs of others judge wan-mcp; `.ci/judges` starts this with everything that it needs.

    python tests/judges/judge.py --node NODE --modules FOLDER --folder FOLDER [--only JUDGE] -- SERVER COMMAND...

Prints what is wrong and a summary, and ends with 1 if anything is.
"""

import argparse
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
from ground import Ground, Verdicts
from programs import judge_conformance, judge_in_browser, judge_with_inspector
from talks import judge_talks

JUDGES: dict[str, Callable[[Ground], Awaitable[Verdicts]]] = {
    "conversations": judge_talks,
    "inspector": judge_with_inspector,
    "conformance": judge_conformance,
    "browser": judge_in_browser,
}


def main() -> int:
    options = _read_options()
    ground = Ground(
        server=options.server,
        python=sys.executable,
        node=options.node,
        modules=options.modules,
        folder=options.folder,
        chromium=options.chromium or None,
    )
    faulty = 0
    for name in options.only or JUDGES:
        started = time.monotonic()
        try:
            verdicts = anyio.run(JUDGES[name], ground)
        except Exception:  # noqa: BLE001 - the others still judge, and this is a fault as well
            verdicts = {"the judge itself": [traceback.format_exc()]}
        sys.stdout.write(f"{name} ({time.monotonic() - started:.0f} s)\n")
        for subject, faults in verdicts.items():
            _tell(subject, faults)
        sys.stdout.flush()
        faulty += sum(1 for faults in verdicts.values() if isinstance(faults, list) and faults)
    sys.stdout.write(f"{faulty} of the verdicts find faults.\n" if faulty else "No judge finds a fault.\n")
    return 1 if faulty else 0


def _tell(subject: str, faults: list[str] | str) -> None:
    if isinstance(faults, str):
        sys.stdout.write(f"  skipped  {subject}: {faults}\n")
        return
    sys.stdout.write(f"  {'FAULT' if faults else 'ok':7}  {subject}\n")
    for fault in faults:
        sys.stdout.write("".join(f"           {line}\n" for line in fault.splitlines()))


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Let programs of others judge wan-mcp.")
    parser.add_argument("--node", required=True)
    parser.add_argument("--modules", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--chromium", default="")
    parser.add_argument("--only", action="append", choices=JUDGES)
    parser.add_argument("server", nargs="+")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
