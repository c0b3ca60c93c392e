"""
Sign in with the Python SDK, call tools, and print the answers as lines of JSON.

The argument is a JSON file, as for oauth.mjs; here `client_id` is needed, and nothing is remembered.
"""

import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import anyio
import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider, TokenStorage
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

_REDIRECT = "http://127.0.0.1:1/callback"
_GRANTS = ["authorization_code", "refresh_token"]


class Memory(TokenStorage):
    def __init__(self, client: str) -> None:
        self.tokens: OAuthToken | None = None
        self.client = OAuthClientInformationFull.model_validate(
            {"client_id": client, "redirect_uris": [_REDIRECT], "token_endpoint_auth_method": "none"}
        )

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


async def talk(plan: dict[str, Any]) -> None:
    asked: list[str] = []
    memory = Memory(plan["client_id"])

    async def keep(address: str) -> None:
        show({"authorize": {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}})
        asked.append(address)

    async def answer() -> AuthorizationCodeResult:
        found = parse_qs(urlsplit(await browse(asked[-1])).query)
        return AuthorizationCodeResult.model_validate({name: values[0] for name, values in found.items()})

    async def note(response: httpx2.Response) -> None:
        request = response.request
        where = str(request.url.copy_with(query=None))
        told = {"status": response.status_code, "challenge": response.headers.get("WWW-Authenticate")}
        sent = parse_qs(request.content.decode()) if where.endswith("/token") else {}
        show({"request": f"{request.method} {where}", **told, **{name: values[0] for name, values in sent.items()}})

    metadata = OAuthClientMetadata.model_validate({"redirect_uris": [_REDIRECT], "grant_types": _GRANTS})
    provider = OAuthClientProvider(plan["url"], metadata, memory, keep, answer)
    mode = {"legacy": "legacy", "modern": "auto"}[plan["era"]]
    async with (
        httpx2.AsyncClient(auth=provider, timeout=60, event_hooks={"response": [note]}) as http,
        Client(streamable_http_client(plan["url"], http_client=http), mode=mode, read_timeout_seconds=60) as client,
    ):
        made: dict[str, Any] = {}
        for call in plan["calls"]:
            given = call["arguments"]
            filled = {name: made["task_id"] if value == "$" else value for name, value in given.items()}
            said = await client.call_tool(call["name"], filled)
            made |= said.structured_content or {}
            scope = memory.tokens.scope if memory.tokens else None
            show({"called": call["name"], "isError": said.is_error, "facts": said.structured_content, "scope": scope})


async def browse(address: str) -> str:
    """Do what a browser does whose user approves of everything: follow redirects, and keep cookies."""
    async with httpx2.AsyncClient() as browser:
        while not address.startswith(_REDIRECT):
            answer = await browser.get(address)
            address = urljoin(address, answer.headers["Location"])
    return address


def show(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    anyio.run(talk, json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
