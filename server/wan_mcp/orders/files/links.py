"""
Images for callers who have no part in the server's disk: by links.

A link is the storage's own where it makes such, else one of ours to `/images/{id}`. Of an order's image the id is
`TASK_ID-INDEX`; of a copy, or of what no order knows, it is the name of the file, and `owner` the folder in which it
lies: that of the principal whose it is, or one in it. There is no secret in an id: what may be fetched without a
token is told by the signature.
"""

import hashlib
import hmac
import json
import re
from base64 import urlsafe_b64encode
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

from wan_mcp.clock import Clock, utc
from wan_mcp.images.format import EXTENSIONS, MIME_TYPES
from wan_mcp.ledger import Order
from wan_mcp.orders.files.images import OrderImages
from wan_mcp.orders.presentation import hide_path, name_image
from wan_mcp.storage import Storage
from wan_mcp.storage.names import is_object, make_owner_folder, read_address
from wan_mcp_tools.domain.errors import AppError, ErrorCode, NotFoundError, RequestRefusedError
from wan_mcp_tools.domain.principals import Principal
from wan_mcp_tools.domain.record import Record
from wan_mcp_tools.domain.tasks import SavedImage, Task

LINK_SECONDS = 24 * 3600.0
"""How long a link holds: as long as those of the service."""
_REDIRECT_SECONDS = 300.0
"""How long the storage's link holds that a browser is sent to at once."""
IMAGES_PATH = "/images/"
_ORDERS_IMAGE = re.compile(r"(?P<task_id>[A-Za-z0-9][A-Za-z0-9._:-]{0,127})-(?P<index>[1-9][0-9]{0,2})")
_FILE = re.compile(r"[^/\\\0]{1,250}")
_DIGEST = re.compile(r"[0-9a-f]{8,64}")

FindOrder = Callable[[str, str | None], Awaitable[Order | None]]
"""Gives an order by any of its ids, of a principal or, with None, of anybody."""


class LinkSignature(Record):
    """What of a link says that it is ours: `expires` in seconds since 1970, and the signature as it is written."""

    expires: int
    signature: str


class LinkedFile(Record):
    """What a link leads to: a file of this machine, or an address to go on to. `etag` is no path."""

    filename: str
    mime_type: str
    etag: str
    path: Path | None = None
    address: str | None = None


class ImageLinkSigner:
    """
    Makes links, and finds what they lead to.

    `key` is for this purpose alone, and the same in every replica; with another one all earlier links are over.
    `base_url` is the address that clients use.
    """

    def __init__(self, storage: Storage, clock: Clock, *, key: bytes, base_url: str) -> None:
        self._storage = storage
        self._clock = clock
        self._key = key
        self._base_url = base_url

    async def link_task(self, task: Task, order: Order) -> Task:
        """Give a task whose images have links in the place of paths."""
        images = [await self._link_image(image, order) for image in task.images]
        return replace(task, images=tuple(images), relative_folder=None)

    async def link_saved(self, saved: SavedImage, order: Order | None, *, owner: str) -> SavedImage:
        """
        Give an image that was saved or copied just now with a link in the place of its path.

        It is that of the order, or another file in the folder of the owner, the id of a principal.
        """
        image = order.image(saved.index) if order is not None else None
        if order is not None and image is not None and Path(image.path or "") == _read_place(saved.path):
            return await self._link_image(saved, order)
        place, folder = _read_place(saved.path), make_owner_folder(owner) or ""
        if is_object(place) and place.parent.name != folder and _DIGEST.fullmatch(place.parent.name):
            # A copy has a folder of its own there, named by its digest.
            folder = "/".join(filter(None, (folder, place.parent.name)))
        return await self._link(saved, place, place.name, folder, {"owner": folder})

    def is_ours(self, image_id: str, folder: str, signature: LinkSignature) -> bool:
        """Say whether a signature is ours for an image of the principal with this folder, and holds still."""
        expected = self._sign(image_id, folder, signature.expires)
        is_same = hmac.compare_digest(expected.encode(), signature.signature.encode("utf-8", "backslashreplace"))
        return is_same and not self.is_over(signature)

    def is_over(self, signature: LinkSignature) -> bool:
        """Say whether the time of a link is over: what can be told before anything is looked for."""
        return self._clock.now() >= signature.expires

    async def _link_image(self, saved: SavedImage, order: Order) -> SavedImage:
        image = order.image(saved.index)
        place = Path(image.path or "") if image is not None else _read_place(saved.path)
        folder = make_owner_folder(order.principal) or ""
        return await self._link(saved, place, f"{order.best_id}-{saved.index}", folder, {})

    async def _link(
        self, saved: SavedImage, place: Path, image_id: str, folder: str, more: dict[str, str]
    ) -> SavedImage:
        expires = int(self._clock.now() + LINK_SECONDS)
        url = await self._try_storage(place, saved.name)
        if url is None:
            signature = self._sign(image_id, folder, expires)
            query = urlencode(more | {"expires": expires, "signature": signature})
            url = f"{self._base_url}{IMAGES_PATH}{quote(image_id, safe='')}?{query}"
        return hide_path(replace(saved, url=url, url_expires_at=_read_time(expires)))

    async def ask_storage(self, place: Path, filename: str, *, seconds: float) -> str | None:
        """
        Have the storage make a link; None if it makes none that clients could follow.

        Raises:
            AppError: the storage cannot, or may not.
        """
        mime_type = MIME_TYPES.get(place.suffix, "")
        url = await self._storage.make_link(place, seconds=seconds, filename=filename, mime_type=mime_type)
        return url if url is not None and self._is_reachable(url) else None

    def _is_reachable(self, url: str) -> bool:
        """
        Say whether clients can be sent to a storage.

        One that is reached without TLS stands beside the server, and is no place for clients who come with TLS.
        """
        parts = urlsplit(url)
        is_inside = "-internal." in (parts.hostname or "")
        return not is_inside and (parts.scheme == "https" or self._base_url.startswith("http://"))

    async def _try_storage(self, place: Path, filename: str) -> str | None:
        try:
            return await self.ask_storage(place, filename, seconds=LINK_SECONDS)
        except AppError:
            # Ours says what is the matter when it is followed.
            return None

    def _sign(self, image_id: str, folder: str, expires: int) -> str:
        text = json.dumps([image_id, folder, expires])
        digest = hmac.digest(self._key, text.encode(), hashlib.sha256)
        return urlsafe_b64encode(digest).decode().rstrip("=")


class ImageLinkResolver:
    """Finds the files that links lead to. Whatever is wrong with a link is answered in the same words."""

    def __init__(
        self, storage: Storage, links: ImageLinkSigner, *, images: OrderImages, find_order: FindOrder
    ) -> None:
        self._storage = storage
        self._links = links
        self._images = images
        self._find_order = find_order

    @asynccontextmanager
    async def open(
        self,
        image_id: str,
        by: LinkSignature | Principal,
        *,
        folder: str | None = None,
    ) -> AsyncGenerator[LinkedFile]:
        """
        Open an image by its id, by the signature of a link or for a principal who has signed in.

        `folder` is that of the owner where the link tells it. The file may be there for as long as this is open only.

        Raises:
            NotFoundError: there is no such image, it is another's, or the link is over or not ours.
            AppError: the storage or the ledger refuses now.
        """
        try:
            found = await self._find(image_id, by, folder)
        except (NotFoundError, RequestRefusedError, ValueError) as error:
            raise _not_found() from error
        if found is None:
            raise _not_found()
        place, filename, etag = found
        linked = LinkedFile(filename, MIME_TYPES[place.suffix], etag)
        try:
            address = await self._links.ask_storage(place, filename, seconds=_REDIRECT_SECONDS)
        except (NotFoundError, RequestRefusedError) as error:
            raise _not_found() from error
        if address is not None:
            yield replace(linked, address=address)
            return
        async with self._storage.open_file(place) as path:
            yield replace(linked, path=path)

    async def _find(
        self, image_id: str, by: LinkSignature | Principal, folder: str | None
    ) -> tuple[Path, str, str] | None:
        if image_id.lower().endswith(EXTENSIONS):
            return await self._find_copy(image_id, by, folder)
        match = _ORDERS_IMAGE.fullmatch(image_id)
        if match is None or (isinstance(by, LinkSignature) and self._links.is_over(by)):
            return None
        order = await self._find_order(match["task_id"], None if isinstance(by, LinkSignature) else by.sees)
        if order is None:
            return None
        if isinstance(by, LinkSignature):
            owner = make_owner_folder(order.principal) or ""
            if not self._links.is_ours(image_id, owner, by):
                return None
        index = int(match["index"])
        path = await self._images.find_file(order, index)
        image = order.image(index)
        etag = image.sha256 if image is not None else None
        # The key of an object is no name for a person.
        name = f"{name_image(order, index)}{path.suffix}" if is_object(path) else path.name
        return path, name, etag or await self._make_etag(path)

    async def _find_copy(
        self, name: str, by: LinkSignature | Principal, folder: str | None
    ) -> tuple[Path, str, str] | None:
        """Find a file in the folder of a principal or one in it: that of the link, or the caller's own."""
        if isinstance(by, Principal):
            own = make_owner_folder(by.id) or ""
            first, _, inner = (folder or own).partition("/")
            is_theirs = first == own and (not inner or _DIGEST.fullmatch(inner) is not None)
            folder = folder if folder and is_theirs else own
        elif folder is None or not self._links.is_ours(name, folder, by):
            return None
        if _FILE.fullmatch(name) is None:
            return None
        path = await self._storage.locate(await self._storage.find_folder(None) / folder / name)
        return path, path.name, await self._make_etag(path)

    async def _make_etag(self, path: Path) -> str:
        return hashlib.sha256(
            (await self._storage.read_version(path)).encode("utf-8", "backslashreplace")
        ).hexdigest()


def _read_place(shown: str) -> Path:
    return read_address(shown) or Path(shown)


def _read_time(seconds: int) -> datetime:
    return utc(float(seconds))


def _not_found() -> NotFoundError:
    return NotFoundError("There is no such image, or its link is over.", code=ErrorCode.IMAGE_NOT_FOUND)
