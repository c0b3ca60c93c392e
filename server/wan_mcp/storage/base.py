"""
The port of storage: what the orders need of the place where image files lie.

`LocalStorage` fills it with folders of this machine, `S3Storage` with an object store. A place is given as an
absolute path and is only ever handed back: callers keep it as text in the ledger, take from it no more than its
folder and its name, and show it as `names.show_path` gives it.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from wan_mcp.images.format import ImageFacts
from wan_mcp.images.inputs import PreparedInput
from wan_mcp_tools.catalogue.model import InputLimits
from wan_mcp_tools.domain.principals import LOCAL_ID
from wan_mcp_tools.domain.record import Record
from wan_mcp_tools.domain.service import Conversion, Preview
from wan_mcp_tools.domain.tasks import CopyRemark


class ImageCopy(Record):
    """A copy of an image: where it lies, what is certain about it, and what it lacks of the original."""

    path: Path
    facts: ImageFacts
    remarks: tuple[CopyRemark, ...] = ()


class Draft(Protocol):
    """
    An image that has no name yet; a download writes to it.

    First `write`, then `verify`, then `target` and `publish` until a name is free. One caller at a time.
    """

    @property
    def size(self) -> int:
        """How many bytes have been written."""
        ...

    async def write(self, chunk: bytes) -> None:
        """
        Add bytes at the end.

        Raises:
            StorageError: they cannot be kept.
        """
        ...

    async def restart(self) -> None:
        """
        Forget everything written, to begin again.

        Raises:
            StorageError: the storage refuses.
        """
        ...

    async def verify(self) -> ImageFacts:
        """
        Make sure that the bytes are one complete image.

        From here on they are brought where they outlive a power cut, which `publish` waits for: what is to be written
        down before that takes its time as well.

        Raises:
            NotAnImageError: they are not; the message says what they look like.
            StorageError: the storage refuses, or another process removed the draft.
        """
        ...

    async def find_target(self, stem: str, extension: str) -> Path:
        """
        Find the first free name: `stem.ext`, `stem-2.ext`, `stem-3.ext`, and so on.

        A name is free if no image of any kind and no sidecar has it. Nothing is reserved: the caller writes the name
        and the digest down, and then publishes. A store that names its objects itself gives the one name that the
        order, the index and the digest make, and keeps `stem` as the name that a browser saves it under.

        Raises:
            StorageError: the folder leaves no room for any name.
        """
        ...

    async def publish(self, target: Path) -> bool:
        """
        Give the verified bytes their name, at once and whole, as soon as they outlive a power cut.

        False if the name is taken: nothing is overwritten.

        The same bytes may be put once more where their name is made of their digest.

        Raises:
            StorageError: the storage refuses, or another process removed the draft. No name was given.
        """
        ...


class Storage(Protocol):
    """
    Where images are kept: a default folder and the further ones that a call may name, and nothing outside them.

    That holds for every path that it is given, be it a caller's or the ledger's: one that lies outside, by itself or
    by a link, is refused with `FolderNotAllowedError` and not touched. A link that has come since the path was looked
    at is a `StorageError`. Any number of processes may use one storage at a time.
    """

    async def find_folder(self, output_dir: str | None, *, owner: str = LOCAL_ID) -> Path:
        """
        Give the folder that a call means, ready to be written in; None means the default folder.

        The default folder of an `owner`, the id of a principal, lies in that of the local user and is nobody else's.

        Raises:
            FolderNotAllowedError: it lies outside the allowed folders.
            RequestRefusedError: it names no folder here, or no folder can be named.
            StorageError: it cannot be created or written, or has hardly any room.
        """
        ...

    async def hold(self) -> None:
        """
        Find out where the folders of the settings lead, and hold to it from now on.

        A folder that is replaced by a link later leads nowhere; one that does not exist yet is held once it does.
        """
        ...

    async def find_known_folder(self, folder: Path) -> Path:
        """
        Give a folder that the ledger names, ready to be written in.

        It was allowed when it was written down, and has to be so now.

        Raises:
            FolderNotAllowedError: it lies outside the allowed folders by now.
            RequestRefusedError: it is no path here.
            StorageError: it cannot be created or written, or has hardly any room.
        """
        ...

    def open_draft(
        self, folder: Path, *, order_id: str, index: int, owner: str
    ) -> AbstractAsyncContextManager[Draft]:
        """
        Open a draft of an image of an order; at the end it is removed unless it was published.

        `owner` is the process that writes it. What a killed one leaves is found by these three.

        Raises:
            FolderNotAllowedError: the folder lies outside the allowed ones.
            StorageError: the draft cannot be opened.
        """
        ...

    async def matches(self, path: Path, sha256: str) -> bool:
        """
        Whether the file exists and has exactly this content (`sha256` in hex).

        Raises:
            FolderNotAllowedError: it lies outside the allowed folders.
            StorageError: it exists and cannot be read.
        """
        ...

    async def find_missing(self, paths: Sequence[Path]) -> list[Path]:
        """
        Give those paths under which nothing lies any more; what cannot be looked at counts as there.

        A link that leads outside the allowed folders has taken the place of what was there. Of a path that lies
        outside by itself only the name is looked at.
        """
        ...

    async def find_moved(self, path: Path, *, sha256: str, size: int | None) -> Path | None:
        """
        Find where a file lies now that was moved within the allowed folders, or together with them; None if nowhere.

        It is known by its name, its size in bytes and its digest. The search has an end: it is no search of a disk.
        """
        ...

    async def locate(self, path: Path) -> Path:
        """
        Give where an image lies that the ledger names: its links resolved.

        Raises:
            FolderNotAllowedError: it lies outside the allowed folders.
            NotFoundError: there is no such file.
            RequestRefusedError: it is no image.
            StorageError: it cannot be read.
        """
        ...

    async def read_facts(self, path: Path) -> ImageFacts:
        """
        Check an existing file as a download is checked.

        Raises:
            NotFoundError: there is no such file.
            NotAnImageError: it is no complete image.
            StorageError: it cannot be read.
        """
        ...

    async def read(self, path: Path) -> tuple[bytes, ImageFacts]:
        """
        Read an existing file, checked as a download is checked.

        Raises:
            NotFoundError: there is no such file.
            NotAnImageError: it is no complete image.
            StorageError: it cannot be read.
        """
        ...

    async def find_readable(self, path: str) -> Path:
        """
        Find an image that a caller names by its path: relative to the default folder, or absolute.

        Raises:
            FolderNotAllowedError: it lies outside the allowed folders, whether it exists or not.
            NotFoundError: there is no such file.
            RequestRefusedError: it is no image, or its path is none here.
        """
        ...

    async def find_input(self, path: str) -> Path:
        """
        Find a file that a caller names as a picture to be sent: relative to the default folder, or absolute.

        What it is is not looked at yet.

        Raises:
            FolderNotAllowedError: it lies outside the allowed folders, whether it exists or not.
            RequestRefusedError: it is no path here.
        """
        ...

    async def prepare_input(
        self, path: Path, limits: InputLimits, *, sha256: str | None = None, name: str | None = None
    ) -> PreparedInput:
        """
        Read a file that `find_input` or `locate` gave, and make of it what a model takes.

        With `sha256` (in hex) the file must have this digest, and is known to be whole. `name` is what messages call
        it, where that is not its place.

        Raises:
            FolderNotAllowedError: it lies outside the allowed folders by now.
            NotFoundError: there is no such file.
            InputChangedError: it has another digest.
            RequestRefusedError: it is no picture, or none that the model takes whatever is done to it.
            StorageError: it cannot be read.
        """
        ...

    async def copy(
        self, source: Path, folder: Path, filename: str | None, conversion: Conversion | None = None
    ) -> ImageCopy:
        """
        Put a verified copy of an image into a folder, under `filename` or its own name, with a counter if taken.

        A `conversion` makes it another format or smaller; then its own name has its pixels behind it, such as
        `fox-1-800x450.webp`. A copy that is already there under one of these names is given instead of a second one.
        The source is never changed; where a conversion changes nothing and no other place is wanted, it is given.

        Raises:
            RequestRefusedError: `filename` is not legal, the folder is not allowed, or the image cannot be converted.
            NotFoundError: the source is gone.
            NotAnImageError: the source is no complete image.
            StorageError: the storage refuses.
        """
        ...

    async def draw_preview(self, path: Path, *, max_side: int = 1024, max_bytes: int = 500_000) -> Preview:
        """
        Draw a small picture of a file: longest side in pixels, size in bytes.

        Raises:
            NotFoundError: there is no such file.
            RequestRefusedError: it is no complete image, or has too many pixels to be drawn safely.
            StorageError: it cannot be read.
        """
        ...

    async def read_version(self, path: Path) -> str:
        """
        Give what tells a file from every other one, and from itself after a change.

        Raises:
            FolderNotAllowedError: it lies outside the allowed folders.
            StorageError: it cannot be looked at.
        """
        ...

    def open_file(self, path: Path) -> AbstractAsyncContextManager[Path]:
        """
        Open an image as a file of this machine: the file itself, or a copy that goes when this is closed.

        Raises:
            FolderNotAllowedError: it lies outside the allowed folders.
            NotFoundError: there is no such file.
            StorageError: it cannot be read.
        """
        ...

    async def make_link(self, path: Path, *, seconds: float, filename: str, mime_type: str) -> str | None:
        """
        Make a link that anybody can fetch an image with, for so many seconds; None where the storage makes none.

        `filename` and `mime_type` are what it is to be offered as, where the storage can be told in the link.

        Raises:
            FolderNotAllowedError: it lies outside the allowed folders.
            StorageError: the storage refuses.
        """
        ...

    async def find_upload_place(self, name: str, *, owner: str) -> Path:
        """
        Give where an upload of an owner, the id of a principal, is to lie; `name` is its id and an extension.

        Nothing else lies in that folder.

        Raises:
            StorageError: the storage cannot be used.
        """
        ...

    async def keep_upload(self, place: Path, data: bytes, mime_type: str) -> None:
        """
        Put the bytes of a complete image at a place that `find_upload_place` gave: all of them, or none.

        Raises:
            FolderNotAllowedError: it lies outside the storage by now.
            StorageError: the storage refuses.
        """
        ...

    async def remove_upload(self, place: Path, *, older_than: float) -> None:
        """
        Remove an upload, and what killed processes have left beside it before `older_than` (seconds since 1970).

        One that is not there is no error. Nothing but uploads is removed, whatever place is given.

        Raises:
            FolderNotAllowedError: it lies outside the storage by now.
            StorageError: the storage refuses.
        """
        ...

    async def write_sidecar(self, image: Path, facts: Mapping[str, object], *, order_id: str = "sidecar") -> None:
        """
        Write the facts of an image beside it, as `name.json`; one that exists is left as it is.

        What a killed process leaves of it is removed with the temporary files of `order_id`.

        Raises:
            FolderNotAllowedError: the image lies outside the allowed folders.
            StorageError: the storage refuses.
        """
        ...

    async def remove_temp_files(self, folder: Path, *, order_id: str, keep_owner: str | None) -> int:
        """
        Remove the temporary files of an order that other owners left, and count them.

        A slow owner whose file is removed can give it no name any more: its `publish` fails.

        Raises:
            StorageError: the folder cannot be read.
        """
        ...

    async def remove_old_temp_files(self, folder: Path, *, older_than: float) -> int:
        """
        Remove every temporary file last written before `older_than` (seconds since 1970), and count them.

        Raises:
            StorageError: the folder cannot be read.
        """
        ...
