"""
The kill campaign: many orders, several processes, kill -9 at random, a service that misbehaves.

    python tests/campaigns/kill.py --orders 300 --processes 6 --kills 40
    python tests/campaigns/kill.py --protocol new --orders 90 --processes 3 --kills 20

Prints a report and exits 1 if a promise was broken: an order paid twice, a paid image without its file, a file under
the wrong order. Needs no network and no key: the service is a look-alike on this machine.
"""

import argparse
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":  # started as a program, whose own folder is on the path and not the one above
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from campaigns.campaign import Campaign, Plan


def main() -> int:
    """Run one campaign for a person at a terminal."""
    parser = argparse.ArgumentParser(description="Kill the server again and again, and count what was lost.")
    parser.add_argument("--orders", type=int, default=300)
    parser.add_argument("--processes", type=int, default=6)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--stops", type=int, default=0, help="processes held still (SIGSTOP) past their lease")
    parser.add_argument("--protocol", choices=("legacy", "new"), default="legacy", help="new: no prompt is echoed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=3, help="calls that each process has at a time")
    parser.add_argument("--no-faults", action="store_true", help="the service itself behaves")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds after which the campaign ends")
    parser.add_argument("--folder", type=Path, help="keep the ledger and the pictures here")
    options = parser.parse_args()
    plan = Plan(
        orders=options.orders,
        processes=options.processes,
        kills=options.kills,
        stops=options.stops,
        protocol=options.protocol,
        seed=options.seed,
        faults=not options.no_faults,
        at_once=options.at_once,
        limit=options.limit,
    )
    with tempfile.TemporaryDirectory(prefix="wan-mcp-campaign-") as scratch:
        report = Campaign(plan, options.folder or Path(scratch)).run()
    print(report)
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
