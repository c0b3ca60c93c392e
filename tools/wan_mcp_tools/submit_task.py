"""The tool that orders and answers at once."""

from typing import cast

from pydantic import ConfigDict
from pydantic.config import JsonDict

from wan_mcp_tools.arguments import OrderArguments
from wan_mcp_tools.domain.service import ImageService, ProgressCallback
from wan_mcp_tools.results import TaskResult, list_remarks, task_answer
from wan_mcp_tools.tool import Answer, Tool

DESCRIPTION = """\
Order like generate_image, but answer at once with the task_id.
For several orders side by side, slow models, or where calls are cut off after seconds; collect each with get_task.
The arguments are those of generate_image."""

_SAME = "As there."


def _refer(schema: JsonDict) -> None:
    """Leave every word about the arguments to the tool that has the same ones: a model reads both."""
    properties = cast("dict[str, JsonDict]", schema["properties"])
    for shape in properties.values():
        shape["description"] = _SAME


class SubmitTaskArguments(OrderArguments):
    """An order, described where its arguments first are."""

    model_config = ConfigDict(json_schema_extra=_refer)


def submit_task(service: ImageService) -> Tool:
    """Build the tool on a service."""

    async def run(arguments: SubmitTaskArguments, report: ProgressCallback | None) -> Answer:
        request = arguments.make_request(service.catalogue)
        task = await service.order(
            request,
            wait_seconds=service.default_wait_seconds,
            until_accepted=True,
            fresh=arguments.fresh,
            report=report,
        )
        return task_answer(task, await list_remarks(service, request, task))

    return Tool(
        name="submit_task",
        title="Submit image task",
        description=DESCRIPTION,
        search_hint="draw, edit, change, retouch or combine several pictures, photos or art side by side, no waiting",
        arguments=SubmitTaskArguments,
        run=run,
        result=TaskResult,
        read_only=False,
        destructive=False,
        idempotent=False,
        open_world=True,
    )
