"""A request as data: checked, complete, and the same for every protocol."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """
    What a caller asks for, checked by the catalogue: one order, which may be of several images.

    `model` is the catalogue's id (the wire id may differ by region), `region` the region's name, `size` what the
    service is sent: `W*H` in pixels, or `1K`, `2K`, `4K`. `n` counts images. `None` means that the model has no
    such parameter, or that the service chooses. `output_dir` and `filename` are the caller's, not yet confined.
    """

    model: str
    region: str
    prompt: str
    size: str
    n: int = 1
    negative_prompt: str | None = None
    seed: int | None = None
    prompt_extend: bool | None = None
    watermark: bool = False
    output_dir: str | None = None
    filename: str | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ImageRequest":
        """Read what `to_dict` gave; what a later release has added is left out."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})

    def to_dict(self) -> dict[str, Any]:
        """Give the request as plain data, without what is absent."""
        return {name: value for name, value in asdict(self).items() if value is not None}
