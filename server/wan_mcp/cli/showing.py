"""Small pictures in the terminal, for `--show`."""

from collections.abc import Mapping
from functools import partial

import anyio.to_thread

from wan_mcp.cli.console import Console
from wan_mcp.cli.graphics import Screen, encode_picture
from wan_mcp.cli.screen import find_screen
from wan_mcp_tools.domain.errors import AppError
from wan_mcp_tools.domain.service import ImageService
from wan_mcp_tools.domain.tasks import Task


async def prepare_screen(console: Console, environ: Mapping[str, str]) -> Screen | None:
    """Find out how the terminal takes pictures, and say so if it does not."""
    screen = await anyio.to_thread.run_sync(partial(find_screen, console.err, environ, console.clock))
    if screen is None:
        why = "this terminal takes none (kitty, iTerm2 and sixel are known)"
        console.note(f"No pictures are shown: {why if console.err.isatty() else 'stderr is no terminal'}.")
    return screen


async def draw_task(service: ImageService, task: Task, screen: Screen, console: Console) -> dict[int, str]:
    """Give the saved images of a task as codes for the terminal, by their index."""
    pictures: dict[int, str] = {}
    for image in task.images:
        try:
            preview = await service.preview(task_id=task.task_id, index=image.index, path=None)
        except AppError as error:
            console.note(f"Image {image.index} cannot be shown: {error}")
            continue
        pictures[image.index] = await anyio.to_thread.run_sync(encode_picture, preview.data, screen)
    return pictures
