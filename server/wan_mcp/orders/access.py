"""What only the user of this machine may name: the paths of its files."""

from wan_mcp_tools.domain.errors import RequestRefusedError
from wan_mcp_tools.domain.principals import Principal
from wan_mcp_tools.domain.requests import ImageRequest, InputSource

_INPUTS = "Upload the picture and give its id, or name an earlier result by TASK_ID#INDEX, or give an https URL."


def check_request(request: ImageRequest, principal: Principal) -> None:
    """
    Make sure that a request names no path of the server, unless the user of this machine has made it.

    Raises:
        RequestRefusedError: it does.
    """
    check_output_dir(request.output_dir, principal)
    if not principal.is_local and any(image.source is InputSource.FILE for image in request.images):
        raise RequestRefusedError(
            "images takes no path of a file: you do not share a disk with this server.", _INPUTS
        )


def check_output_dir(output_dir: str | None, principal: Principal) -> None:
    """
    Make sure that no folder of the server is chosen, unless by the user of this machine.

    Raises:
        RequestRefusedError: one is.
    """
    if output_dir and not principal.is_local:
        raise RequestRefusedError(
            "output_dir takes no folder: you do not share a disk with this server.",
            "Leave it out; the answer has an address of each image. filename may give it a name.",
        )


def check_view(path: str | None, principal: Principal) -> None:
    """
    Make sure that no file of the server is looked at by its path, unless by the user of this machine.

    Raises:
        RequestRefusedError: one is.
    """
    if path is not None and not principal.is_local:
        raise RequestRefusedError(
            "path takes no file: you do not share a disk with this server.",
            "Give the task_id and the index of the image.",
        )
