"""What is wrong with the arguments of a call: refused before anything is sent or paid."""

from contract.situations.situation import SMALL, Situation, Workspace

_ABOUT = "arguments"
_AGENT = {"prompt_extend_mode": "agent"}


def _refused(title: str, tool: str = "generate_image", **arguments: object) -> Situation:
    async def bring_about(workspace: Workspace):
        async with workspace.server() as call:
            return await call(tool, **arguments)

    return Situation(_ABOUT, title, "no", "no", bring_about)


def _order(title: str, **arguments: object) -> Situation:
    return _refused(title, **({"prompt": "a flower shop"} | arguments))


async def _index(workspace: Workspace):
    async with workspace.server() as call:
        made = await call.make(region="sandbox", **SMALL)
        return await call("view_image", task_id=made.structured_content["task_id"], index=7)


async def _region_without_key(workspace: Workspace):
    async with workspace.server(DASHSCOPE_REGION="singapore", DASHSCOPE_API_KEY="sk-test-singapore") as call:
        return await call("generate_image", prompt="a flower shop", model="wanx2.0-t2i-turbo")


ARGUMENTS = (
    _order("an argument that does not exist", negativ_prompt="people"),
    _refused("an argument is missing", size="1:1"),
    _order("an argument is of the wrong type", n="many"),
    _order("an argument is far too long", filename="x" * 10_000_000),
    _order("an argument holds half a character", negative_prompt="people \ud83d"),
    _order("many arguments that do not exist", **{f"wish_{number}": number for number in range(200)}),
    _order("the prompt is empty", prompt="  "),
    _order("the prompt is longer than the model reads", prompt="x" * 2110),
    _order("the negative prompt is longer than the model reads", negative_prompt="x" * 501),
    _order("there is no such model", model="wan9"),
    _order("the model is not offered in the region", model="wanx2.0-t2i-turbo", region="singapore"),
    Situation(_ABOUT, "the model is offered only in regions without a key", "no", "no", _region_without_key),
    _order("the model takes no pictures", model="wan2.6-t2i", images=["fox.png"]),
    _order("the model needs a picture", model="qwen-image-edit"),
    _order("more pictures than the model takes", model="qwen-image-3.0", images=["fox.png"] * 4),
    _order("a picture that is blank", images=["fox.png", " "]),
    _order("a picture that stands in its own address", images=["data:text/html,x"]),
    _order("an option that the model lacks", model="wan2.7-image", options={"style": "anime"}),
    _order("options that exclude one another", model="qwen-image-3.0", images=["fox.png"], options=_AGENT),
    _order("there is no such region", region="atlantis"),
    _order("the size is none", size="large"),
    _order("the size is outside the model's range", size="4096*4096"),
    _order("the aspect ratio is not known", size="5:4"),
    _order("the aspect ratio is none that the model draws", size="5:1"),
    _order("the grade is one that another model draws", size="4K"),
    _order("more images than the model draws", n=9),
    _order("the seed is out of range", seed=-1),
    _order("a parameter that the model lacks", model="wan2.7-image", negative_prompt="people"),
    _order("prompt_extend where the model has none", model="wan2.7-image", prompt_extend=True),
    _order("the file name has a folder in it", filename="../shop"),
    _order("the file name is a device of Windows", filename="con"),
    _order("the folder is not an allowed one", output_dir="/etc"),
    _order("the folder has an invisible character", output_dir="pic\u200btures"),
    _order("the wait is too long", wait_seconds=99_999),
    _refused("list_tasks with a wrong limit", "list_tasks", limit=0),
    _refused("list_tasks with a cursor of its own", "list_tasks", cursor="page 2"),
    _refused("list_tasks with a day that is none", "list_tasks", since="last summer"),
    _refused("list_tasks with a period that ends before it begins", "list_tasks", since="today", until="yesterday"),
    _refused("list_tasks with costs of some tasks alone", "list_tasks", costs=True, status="FAILED"),
    _refused("download_image with a format that is not written", "download_image", task_id="1", format="gif"),
    _refused("download_image with a side that is too small", "download_image", task_id="1", max_side=8),
    _refused("download_image with neither task_id nor url", "download_image"),
    _refused("view_image with both task_id and path", "view_image", task_id="1", path="a.png"),
    Situation(_ABOUT, "the task has no image of that index", "no", "no", _index),
    _refused("the task id is empty", "get_task", task_id=" "),
    _refused("the task id can be none", "get_task", task_id="what is the weather?"),
)
