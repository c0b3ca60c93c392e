"""`wan-mcp collect`: finish what was left open; fit for cron."""

import click

from wan_mcp.cli.console import Console
from wan_mcp.cli.exits import Exit
from wan_mcp.cli.presenting import to_json
from wan_mcp.cli.shell import OrderService, Shell, env_file_option, pass_shell


@click.command()
@click.option("--until-idle", is_flag=True, help="Stay until no order is open any more.")
@click.option("--keeper", hidden=True, help="The name under which this process is the keeper.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
@env_file_option
@pass_shell
@click.pass_context
def collect(context: click.Context, shell: Shell, *, until_idle: bool, keeper: str | None, as_json: bool) -> None:
    """
    Finish what can be finished of the open orders.

    Looks after each unfinished order once, saves what is ready and exits: fit for cron.
    """
    settings = shell.read_settings()

    async def job(service: OrderService, console: Console) -> Exit:
        return await run_collect(service, console, until_idle=until_idle, keeper=keeper, as_json=as_json)

    context.exit(shell.run(settings, job, follow=False))


async def run_collect(
    service: OrderService, console: Console, *, until_idle: bool, as_json: bool, keeper: str | None = None
) -> Exit:
    """
    Collect, and tell what it came to.

    Raises:
        AppError: the ledger or the disk cannot be used.
    """

    async def report(sentence: str) -> None:
        console.note(sentence)

    summary = await service.collect(report, until_idle=until_idle, keeper=keeper)
    for problem in summary.problems:
        console.note(f"wan-mcp: {problem}")
    if as_json:
        counts = {"finished": summary.finished, "saved": summary.saved, "open": summary.open}
        console.say(to_json({**counts, "problems": list(summary.problems)}))
    else:
        console.say(f"{summary.finished} finished, {summary.saved} images saved, {summary.open} still open")
    if summary.problems:
        return Exit.FAILED
    return Exit.RUNNING if summary.open else Exit.DONE
