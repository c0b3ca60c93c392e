"""The tool that shows a saved image to the model."""

from wan_mcp_tools.arguments import ImagePath, Index, OptionalTaskId, check_one_image
from wan_mcp_tools.domain.service import ImageService, Preview, ProgressCallback
from wan_mcp_tools.tool import Arguments, Tool

DESCRIPTION = """\
Show you a saved image, reduced to at most 1024 pixels.
Use it when the person says "show me", and to judge a picture before going on. Not every host shows it to the person
too, so tell the path as well. Takes a task_id with index, or a path."""


class ViewImageArguments(Arguments):
    """Which image."""

    task_id: OptionalTaskId = None
    index: Index = 1
    path: ImagePath = None


def view_image(service: ImageService) -> Tool:
    """Build the tool on a service."""

    async def run(arguments: ViewImageArguments, report: ProgressCallback | None) -> Preview:
        del report
        check_one_image("view_image", arguments.task_id, arguments.index, path=arguments.path)
        return await service.draw_preview(task_id=arguments.task_id, index=arguments.index, path=arguments.path)

    return Tool(
        name="view_image",
        title="View image",
        description=DESCRIPTION,
        search_hint="show, look at or check a picture that was drawn",
        arguments=ViewImageArguments,
        run=run,
        result=None,
        read_only=True,
        destructive=False,
        idempotent=True,
        open_world=False,
    )
