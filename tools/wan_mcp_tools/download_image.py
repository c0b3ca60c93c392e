"""The tool that puts an image where the caller wants it."""

from wan_mcp_tools.arguments import (
    LEAST_SIDE,
    MOST_SIDE,
    Filename,
    Format,
    Index,
    MaxSide,
    OptionalTaskId,
    OutputDir,
    Url,
    check_one_image,
)
from wan_mcp_tools.domain.errors import RequestRefusedError
from wan_mcp_tools.domain.service import Conversion, ImageService, ProgressCallback
from wan_mcp_tools.domain.tasks import SavedImage, Task, TaskStatus, describe_places
from wan_mcp_tools.results import TaskResult, image_result
from wan_mcp_tools.tool import Answer, Arguments, Tool

DESCRIPTION = """\
Put an image of a task, or of a result URL, into a folder or under a name of your choice; answers with the path.
For wishes such as "put it into the assets folder" or, by format and max_side, "a webp, 800 wide"; images are saved
without it. If the folder is not allowed, copy the file yourself. One image a call. Free, never overwrites."""


class DownloadImageArguments(Arguments):
    """Which image, and where to put it."""

    task_id: OptionalTaskId = None
    index: Index = 1
    url: Url = None
    output_dir: OutputDir = None
    filename: Filename = None
    format: Format = None
    max_side: MaxSide = None


def download_image(service: ImageService) -> Tool:
    """Build the tool on a service."""

    async def run(arguments: DownloadImageArguments, report: ProgressCallback | None) -> Answer:
        del report
        check_one_image("download_image", arguments.task_id, arguments.index, url=arguments.url)
        side = arguments.max_side
        if side is not None and not LEAST_SIDE <= side <= MOST_SIDE:
            raise RequestRefusedError(
                f"max_side is {side}.", f"Use a number from {LEAST_SIDE} to {MOST_SIDE} (pixels)."
            )
        is_converted = arguments.format is not None or side is not None
        image, task = await service.download_image(
            task_id=arguments.task_id,
            index=arguments.index,
            url=arguments.url,
            output_dir=arguments.output_dir,
            filename=arguments.filename,
            conversion=Conversion(arguments.format, side) if is_converted else None,
        )
        return Answer(_placed(image, task))

    return Tool(
        name="download_image",
        title="Download image",
        description=DESCRIPTION,
        search_hint="save or copy a picture into a folder or under another name; convert to webp, jpeg, png; resize",
        arguments=DownloadImageArguments,
        run=run,
        result=TaskResult,
        read_only=False,
        destructive=False,
        idempotent=True,
        open_world=True,
    )


def _placed(image: SavedImage, task: Task | None) -> TaskResult:
    placed = image_result(image)
    parts = list(describe_places([image]))
    if task is None:
        return TaskResult(status=TaskStatus.SUCCEEDED, images=(placed,), message=" ".join(parts) or None)
    count = len({image.index for image in (*task.images, *task.failed_images)})
    if count > 1:
        parts.append(f"Image {image.index} of {count}; pass index for the others.")
    return TaskResult(
        task_id=task.task_id,
        status=task.status,
        region=task.region,
        model=task.model,
        images=(placed,),
        message=" ".join(parts) or None,
    )
