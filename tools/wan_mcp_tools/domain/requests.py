"""A request as data: checked, complete, and the same for every protocol."""

import re
from collections.abc import Mapping
from dataclasses import asdict, field, fields
from enum import StrEnum
from types import MappingProxyType
from typing import Any, cast

from wan_mcp_tools.domain.errors import RequestRefusedError
from wan_mcp_tools.domain.record import Record

NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})

_TASK_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}#[1-9][0-9]{0,2}")
_UPLOAD = re.compile(r"upload-[0-9a-f]{32}")
_WEB = re.compile(r"https?://", re.IGNORECASE)
_TASK_ID = re.compile(r"(?:local-[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:#.{0,20})?")
"""A task's id that names none of its images."""
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
"""Of two letters or more: one letter is a drive."""
_LONGEST_ECHO = 60


class InputSource(StrEnum):
    """Where a picture that is given as input comes from."""

    FILE = "file"
    """A file of this machine."""
    TASK = "task"
    """A saved image of an earlier task."""
    URL = "url"
    """An address of the web, which the service fetches itself."""
    UPLOAD = "upload"
    """A picture that was uploaded to this server beforehand."""


class InputChange(StrEnum):
    """What is done to a picture that a model does not take as it is, before it is sent."""

    FIRST_FRAME = "first_frame"
    """It moves, and only its first frame is sent."""
    FORMAT = "format"
    """It is sent in another format."""
    SCALED = "scaled"
    """It is sent with fewer pixels."""
    FLATTENED = "flattened"
    """Its transparent parts are sent white."""
    COMPRESSED = "compressed"
    """It had too many bytes and is sent in fewer."""


COUNTED_BY_MODEL = frozenset({"enable_sequential", "enable_interleave"})
"""The options under which the model decides how many images it draws."""

_QUERY = re.compile(r"[?#].*", re.DOTALL)


class InputImage(Record):
    """
    A picture given as input.

    `reference` is what the caller named: a path, `TASK_ID#INDEX` (counted from 1), an upload's id or a URL. `path` is
    the absolute path of the file that this is, `sha256` the digest of its bytes in hex at the time of the order; both
    are None for a URL, and until the file was looked at. `changes` are what is done to it before it is sent.
    `advised_side` is the least side in pixels that its model is advised for, where it has a shorter one. The bytes
    themselves are never kept.
    """

    source: InputSource
    reference: str
    path: str | None = None
    sha256: str | None = None
    changes: tuple[InputChange, ...] = ()
    advised_side: int | None = None

    @property
    def shown_reference(self) -> str:
        """The reference as anybody may read it: what stands behind the address of a URL may be a signature."""
        return _QUERY.sub("", self.reference) if self.source is InputSource.URL else self.reference


def read_reference(text: str) -> InputImage:
    """
    Read what a caller names as an input picture, without looking whether it is there.

    Raises:
        RequestRefusedError: it is blank, or an address of a kind that is not taken.
    """
    reference = text.strip()
    if not reference:
        raise RequestRefusedError(
            "images has a member that is blank.", "Name a picture there, or leave the member out."
        )
    if _WEB.match(reference):
        return InputImage(InputSource.URL, reference)
    if _TASK_IMAGE.fullmatch(reference):
        return InputImage(InputSource.TASK, reference)
    if _UPLOAD.fullmatch(reference):
        return InputImage(InputSource.UPLOAD, reference)
    if _TASK_ID.fullmatch(reference):
        raise RequestRefusedError(
            f"{reference!r} is a task id, and a task may have several images.",
            f"Write {reference.partition('#')[0]}#1 for its first image.",
        )
    scheme = _SCHEME.match(reference)
    if scheme is not None and scheme[1].lower() not in ("file", "s3"):
        shown = reference[:_LONGEST_ECHO]
        raise RequestRefusedError(
            f"images takes no {scheme[1][:20].lower()}: addresses ({shown!r}).",
            "Name a file by its path, an earlier result by TASK_ID#INDEX, or a picture of the web by its https URL.",
        )
    return InputImage(InputSource.FILE, reference)


class ImageRequest(Record):
    """
    What a caller asks for, checked by the catalogue: one order, which may be of several images.

    `model` is the catalogue's id (the wire id may differ by region), `region` the region's name, `size` what the
    service is sent: `W*H` in pixels, or `1K`, `2K`, `4K`. `n` counts images; of a set it is the most. `None` means
    that the model has no such parameter, or that the service chooses. `output_dir` and `filename` are the caller's,
    not yet confined. `images` are in the order in which the prompt counts them. `options` are what only some models
    have, by the service's own names. `is_seed_chosen` and `is_size_chosen` say that the seed, or the size, is ours
    and not the caller's.
    """

    model: str
    region: str
    prompt: str
    size: str | None
    n: int = 1
    negative_prompt: str | None = None
    seed: int | None = None
    prompt_extend: bool | None = None
    watermark: bool | None = None
    output_dir: str | None = None
    filename: str | None = None
    images: tuple[InputImage, ...] = ()
    options: Mapping[str, Any] = field(default_factory=lambda: NO_OPTIONS, hash=False)
    is_seed_chosen: bool = False
    is_size_chosen: bool = False

    @property
    def is_counted_by_model(self) -> bool:
        """Whether the model decides how many images there are, and `n` is the most."""
        return any(self.options.get(name) is True for name in COUNTED_BY_MODEL)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ImageRequest":
        """
        Read what `to_dict` gave; what a later release has added is left out.

        Raises:
            TypeError: a value is missing, or of another type.
            ValueError: an image comes from somewhere that this release does not know.
        """
        known = {each.name for each in fields(cls)}
        kept = {name: value for name, value in values.items() if name in known}
        if "images" in kept:
            kept["images"] = tuple(_read_image(each) for each in cast("list[Mapping[str, Any]]", kept["images"]))
        return cls(**kept)

    def to_dict(self) -> dict[str, Any]:
        """Give the request as plain data, without what is absent."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        values["images"] = [_describe_image(image) for image in self.images]
        values["options"] = dict(self.options)
        for name in ("images", "options", "is_seed_chosen", "is_size_chosen"):
            if not values[name]:
                del values[name]
        return _present(values)

    def to_picture(self) -> dict[str, Any]:
        """
        Give what the picture depends on, as plain data that is equal for orders of equal pictures.

        Where its files shall lie is left out, and so is a seed that is not the caller's. An input counts by its
        content where that is known, whatever it is called.
        """
        values = self.to_dict()
        ours = ("output_dir", "filename", "is_seed_chosen", "is_size_chosen")
        for name in (*ours, *(("seed",) if self.is_seed_chosen else ())):
            values.pop(name, None)
        if self.images:
            values["images"] = [image.sha256 or image.reference for image in self.images]
        return values

    def to_arguments(self) -> dict[str, Any]:
        """Give the arguments with which the same is ordered, `images` as their references."""
        values = self.to_dict()
        for name in ("is_seed_chosen", "is_size_chosen"):
            values.pop(name, None)
        return values | ({"images": [image.reference for image in self.images]} if self.images else {})


def _read_image(values: Mapping[str, Any]) -> InputImage:
    known = {each.name for each in fields(InputImage)}
    kept: dict[str, Any] = {name: value for name, value in values.items() if name in known}
    kept["source"] = InputSource(kept["source"])
    kept["changes"] = tuple(change for change in InputChange if change in kept.get("changes", ()))
    return InputImage(**kept)


def _describe_image(image: InputImage) -> dict[str, Any]:
    values = _present(asdict(image)) | {"changes": list(image.changes)}
    if not image.changes:
        del values["changes"]
    return values


def _present(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
