"""The tool that orders, waits and answers with paths."""

from wan_mcp_tools.arguments import OrderArguments, OrderWaitSeconds
from wan_mcp_tools.domain.service import ImageService, ProgressCallback
from wan_mcp_tools.results import TaskResult, check_wait, list_remarks, task_answer
from wan_mcp_tools.tool import Answer, Tool

DESCRIPTION = """\
Draw or edit pictures, photos, illustrations or logos and save them as files; answers with their paths.
Pass images where a picture is there to edit, combine or go on from ("the same but blue": the earlier TASK_ID#1).
Each image costs money (0.015 to 0.075 USD). When wait_seconds is over, the answer is the task_id: call get_task
with it, never generate_image again. The picture is saved even if nobody asks.
An identical call, whatever its output_dir and filename, joins an order whose result was never received; fresh=true,
another seed or other words order a new one; so do calls side by side. Results live 24 hours at the service, files
stay."""


class GenerateImageArguments(OrderArguments):
    """An order, and how long to wait for it."""

    wait_seconds: OrderWaitSeconds = None


def generate_image(service: ImageService) -> Tool:
    """Build the tool on a service."""

    async def run(arguments: GenerateImageArguments, report: ProgressCallback | None) -> Answer:
        seconds = check_wait(arguments.wait_seconds, service.default_wait_seconds)
        request = arguments.make_request(service.catalogue)
        task = await service.order(
            request, wait_seconds=seconds, until_accepted=False, fresh=arguments.fresh, report=report
        )
        return task_answer(task, await list_remarks(service, request, task))

    return Tool(
        name="generate_image",
        title="Generate image",
        description=DESCRIPTION,
        search_hint=(
            "draw, paint, edit, change, retouch or combine a picture, photo, illustration, logo, icon, poster or art"
        ),
        arguments=GenerateImageArguments,
        run=run,
        result=TaskResult,
        read_only=False,
        destructive=False,
        idempotent=False,
        open_world=True,
    )
