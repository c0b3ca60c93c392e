"""The tool that orders and answers at once."""

from wan_mcp_tools.arguments import OrderArguments
from wan_mcp_tools.domain.service import ImageService, ReportProgress
from wan_mcp_tools.results import TaskResult, task_answer
from wan_mcp_tools.tool import Answer, Tool

DESCRIPTION = """\
Order pictures like generate_image, but answer at once with the task_id.
Use this for several orders side by side, for slow models, or where calls are cut off after seconds; collect each with
get_task. Costs, saving and repeated calls are as there."""


def submit_task(service: ImageService) -> Tool:
    """Build the tool on a service."""

    async def run(arguments: OrderArguments, report: ReportProgress | None) -> Answer:
        task = await service.order(
            arguments.make_request(service.catalogue),
            wait_seconds=service.default_wait_seconds,
            until_accepted=True,
            fresh=arguments.fresh,
            report=report,
        )
        return task_answer(task)

    return Tool(
        name="submit_task",
        title="Submit image task",
        description=DESCRIPTION,
        search_hint="draw several pictures, photos, illustrations, logos or art side by side, without waiting",
        arguments=OrderArguments,
        run=run,
        result=TaskResult,
        read_only=False,
        destructive=False,
        idempotent=False,
        open_world=True,
    )
