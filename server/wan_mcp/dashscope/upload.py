"""
Handing a picture to the service beforehand: to its temporary store, where an order names it by an `oss:` address.

The region of the order says where and with which signature, and is asked with its key; the store is told the
signature and never the key. What is stored lives 48 hours and belongs to the account and the model.

Source: https://help.aliyun.com/zh/model-studio/get-temporary-file-url
"""

import secrets
from collections.abc import Mapping
from dataclasses import field
from io import BytesIO
from typing import TYPE_CHECKING

import anyio
import httpx

from wan_mcp.dashscope.body import read_start
from wan_mcp.dashscope.exchange import explain_no_connection
from wan_mcp.dashscope.image_addresses import ConfiguredHosts, HostKind, check_image_url
from wan_mcp.dashscope.payload import as_integer, as_object, as_text
from wan_mcp.dashscope.types import Timeouts
from wan_mcp_tools.domain.errors import DownloadError, ErrorCode, HostNotAllowedError, UploadError
from wan_mcp_tools.domain.record import Record

if TYPE_CHECKING:
    from wan_mcp.dashscope.connections import ConnectionPool

_GOOD = (200, 201, 204)
_REDIRECTED = range(300, 400)
_TOO_LARGE = 413
_PASSING = frozenset({408, 425, 429})
_SERVER_ERROR = 500
_LONGEST_REFUSAL = 4096
_MEBIBYTE = 1024 * 1024
_ENDINGS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "image/bmp": "bmp"}
_NOTHING_SENT = "Nothing was ordered."


class UploadPolicy(Record):
    """
    What the service says of where a picture may be put: `folder` in the store at `host`, for some minutes.

    `fields` are what the store wants to be told, by its own names. `most_bytes` is None where no limit is named.
    """

    host: str
    folder: str
    fields: Mapping[str, str] = field(repr=False)
    most_bytes: int | None


def read_policy(payload: Mapping[str, object] | None) -> UploadPolicy:
    """
    Read the service's answer; its numbers come as texts.

    Raises:
        UploadError: it names no place.
    """
    data = as_object((payload or {}).get("data"))
    names = ("policy", "signature", "upload_dir", "upload_host", "oss_access_key_id")
    policy, signature, folder, host, access = (as_text(data.get(name)) for name in names)
    if policy is None or signature is None or folder is None or host is None or access is None:
        raise UploadError(
            f"The service did not say where the picture is to be uploaded. {_NOTHING_SENT}",
            "Try again in a moment, or give smaller pictures: few small ones need no upload.",
        )
    most = as_integer(data.get("max_file_size_mb"))
    # In the order of the page; the store reads nothing that comes behind the file.
    fields = {
        "OSSAccessKeyId": access,
        "Signature": signature,
        "policy": policy,
        "x-oss-object-acl": as_text(data.get("x_oss_object_acl")) or "private",
        "x-oss-forbid-overwrite": as_text(data.get("x_oss_forbid_overwrite")) or "true",
    }
    return UploadPolicy(host, folder.strip("/"), fields, most * _MEBIBYTE if most else None)


async def upload(
    data: bytes,
    mime_type: str,
    policy: UploadPolicy,
    *,
    connections: "ConnectionPool",
    hosts: ConfiguredHosts,
    timeouts: Timeouts,
    in_process: bool,
) -> str:
    """
    Put one picture into the store and give its `oss:` address; one attempt, no redirect is followed.

    The name that it gets there is a random one.

    Raises:
        UploadError: the store refuses, is none that the service has, or cannot be reached.
    """
    if policy.most_bytes is not None and len(data) > policy.most_bytes:
        raise UploadError(
            f"The picture has {len(data)} bytes, and at most {policy.most_bytes} may be uploaded. {_NOTHING_SENT}",
            "Give a smaller one.",
            retryable=False,
        )
    key = f"{policy.folder}/{secrets.token_hex(16)}.{_ENDINGS.get(mime_type, 'bin')}"
    fields = {**policy.fields, "key": key, "success_action_status": "200"}
    url, kind = _check_host(policy.host, hosts, in_process=in_process)
    clients = await connections.open(in_process=kind is HostKind.IN_PROCESS)
    client = clients.images if kind is HostKind.SERVICE else clients.named_images
    phases = httpx.Timeout(connect=timeouts.connect, read=timeouts.order, write=timeouts.write, pool=timeouts.pool)
    # Read in pieces, so that each of them has the time of a write; and let go of at the end, because the objects of
    # the HTTP library hold one another until somebody looks for such circles.
    content = BytesIO(data)
    files = {"file": (key.rpartition("/")[2], content, mime_type)}
    request = client.build_request("POST", url, data=fields, files=files, timeout=phases)
    failure: UploadError
    try:
        with anyio.fail_after(timeouts.image_total):
            response = await client.send(request, stream=True, auth=None, follow_redirects=False)
            try:
                _check_answer(response.status_code, url.host, await read_start(response, _LONGEST_REFUSAL))
            finally:
                await response.aclose()
    except UploadError:
        raise
    except DownloadError as error:
        # Its network is that of the images.
        failure = UploadError(f"{error.message} {_NOTHING_SENT}", error.advice, retryable=error.retryable)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
        reason, advice = explain_no_connection(error, timeouts)
        failure = UploadError(f"No connection to the upload host {url.host}: {reason}. {_NOTHING_SENT}", advice)
    except (httpx.HTTPError, httpx.StreamError, OSError, TimeoutError):
        failure = UploadError(
            f"The connection to the upload host {url.host} broke. {_NOTHING_SENT}", "Try again in a moment."
        )
    else:
        return f"oss://{key}"
    finally:
        content.close()
    # Raised here and not where it was caught: httpx's exceptions hold the request, and that the signature.
    raise failure


def _check_host(address: str, hosts: ConfiguredHosts, *, in_process: bool) -> tuple[httpx.URL, HostKind]:
    """
    Let only those hosts pass that results may come from.

    Raises:
        UploadError: it is another one.
    """
    try:
        source = check_image_url(httpx.URL(address), hosts, in_process=in_process)
    except (httpx.InvalidURL, ValueError):
        shown = "an address that cannot be read"
    except HostNotAllowedError as error:
        shown = f"a host that is not one of its own ({error.message})"
    else:
        return source.url, source.host_kind
    raise UploadError(
        f"The service wants the picture to be uploaded to {shown}. {_NOTHING_SENT}",
        "Only if the host is known and trusted: let the operator add it to WAN_MCP_IMAGE_HOSTS.",
        code=ErrorCode.HOST_NOT_ALLOWED,
        retryable=False,
    )


def _check_answer(status: int, host: str, body: bytes) -> None:
    if status in _GOOD:
        return
    if status in _REDIRECTED:
        reason, advice, may_pass = "redirects, which is not followed", "Try again later.", False
    elif status == _TOO_LARGE or b"EntityTooLarge" in body:
        reason, advice, may_pass = "takes no picture as large as this", "Give a smaller one.", False
    else:
        may_pass = status >= _SERVER_ERROR or status in _PASSING
        reason, advice = "refused the picture", "Try again in a moment."
    raise UploadError(f"The upload host {host} {reason} (HTTP {status}). {_NOTHING_SENT}", advice, retryable=may_pass)
