"""The tool that puts an image where the caller wants it."""

from wan_mcp_tools.shared.errors import RequestRefusedError
from wan_mcp_tools.shared.parameters import Filename, Index, OptionalTaskId, OutputDir, Url
from wan_mcp_tools.shared.ports import Report, Studio
from wan_mcp_tools.shared.results import ImageResult, TaskResult
from wan_mcp_tools.shared.tasks import SavedImage, Task, TaskStatus
from wan_mcp_tools.shared.tool import Answer, Arguments, Tool

DESCRIPTION = """\
Put an image of a task, or of a result URL, into a folder or under a name of your choice; answers with the path.
Free of charge. Not needed after generate_image or get_task, which have saved the images already. Never overwrites."""


class DownloadImageArguments(Arguments):
    """Which image, and where to put it."""

    task_id: OptionalTaskId = None
    index: Index = 1
    url: Url = None
    output_dir: OutputDir = None
    filename: Filename = None


def download_image(studio: Studio) -> Tool:
    """Build the tool on a studio."""

    async def run(arguments: DownloadImageArguments, report: Report | None) -> Answer:
        del report
        if (arguments.task_id is None) == (arguments.url is None):
            raise RequestRefusedError("download_image takes either task_id or url.", "Give one of them.")
        image, task = await studio.place_image(
            task_id=arguments.task_id,
            index=arguments.index,
            url=arguments.url,
            output_dir=arguments.output_dir,
            filename=arguments.filename,
        )
        return Answer(_placed(image, task))

    return Tool(
        name="download_image",
        title="Download image",
        description=DESCRIPTION,
        arguments=DownloadImageArguments,
        run=run,
        result=TaskResult,
        reads_only=False,
        destroys=False,
        repeats_safely=True,
        reaches_out=True,
    )


def _placed(image: SavedImage, task: Task | None) -> TaskResult:
    path = ImageResult(path=image.path, width=image.width, height=image.height, bytes=image.bytes)
    if task is None:
        return TaskResult(status=TaskStatus.SUCCEEDED, images=(path,))
    return TaskResult(task_id=task.task_id, status=task.status, region=task.region, model=task.model, images=(path,))
