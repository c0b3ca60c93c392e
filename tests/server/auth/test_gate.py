"""The gate: the status and the challenge of every request, who is let in, and what the log says of it."""

import hashlib
import json
import logging

import httpx
import pytest
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Router

from fakes.clock import FakeClock
from fakes.issuer import PLAIN_NETWORK, FakeIssuer
from wan_mcp.auth.challenges import ProtectedResource
from wan_mcp.auth.gate import AuthGate
from wan_mcp.auth.issuer import Issuer
from wan_mcp.auth.jwt_verification import JwtVerifier
from wan_mcp.auth.required_scopes import find_scopes
from wan_mcp.auth.tokens import TokenFile, add_token
from wan_mcp_tools.domain.principals import Principal, Scope, current_principal

PUBLIC = "https://pictures.example.com"
AUDIENCE = f"{PUBLIC}/mcp"
METADATA = f"{PUBLIC}/.well-known/oauth-protected-resource/mcp"
NO_TOKEN = f'Bearer scope="wan:read", resource_metadata="{METADATA}"'
BAD_TOKEN = (
    'Bearer error="invalid_token", error_description="The token is not valid here.", scope="wan:read",'
    f' resource_metadata="{METADATA}"'
)
MALFORMED = 'Bearer error="invalid_request"'


async def show(scope, receive, send):
    principal = current_principal()
    found = {
        "id": principal.id,
        "scopes": sorted(principal.scopes),
        "body": (await Request(scope, receive).body()).decode(),
    }
    await JSONResponse(found)(scope, receive, send)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def issuer():
    with FakeIssuer() as issuer:
        yield issuer


def make_gate(clock: FakeClock, issuer: FakeIssuer | None = None, path=None) -> AuthGate:
    tokens = TokenFile(path, clock) if path is not None else None
    if issuer is None:
        return AuthGate(tokens=tokens)
    known = Issuer(issuer.url, network=PLAIN_NETWORK, clock=clock)
    verifier = JwtVerifier(known, audience=AUDIENCE, clock=clock)
    return AuthGate(tokens=tokens, verify=verifier.verify, resource=ProtectedResource(PUBLIC, issuer.url))


async def count_call() -> None:
    """Refuse nobody."""


def client_of(gate: AuthGate, scope: Scope | None = None) -> httpx.AsyncClient:
    app = gate.protect(gate.check_messages(show, count_call=count_call), scope)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://server")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def calling(tool: str) -> dict:
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": {}}}


async def test_each_request_gets_its_status_and_challenge_and_no_token_is_in_the_log(issuer, clock, caplog):
    caplog.set_level(logging.DEBUG)
    now = clock.now()

    def token(key_id="first", **changes):
        return issuer.sign(issuer.claims(now, AUDIENCE, **changes), key_id)

    good = token()
    expired, foreign = token(exp=now - 61), token(aud="https://other.example.com")
    huge = f"{good}{'A' * 20_000}"
    table = [
        (httpx.Request("POST", "http://server/mcp", headers=bearer(good)), 200, None),
        (httpx.Request("POST", "http://server/mcp", headers={"Authorization": f"bearer {good}"}), 200, None),
        (httpx.Request("POST", "http://server/mcp", headers={"authorization": f"BEARER   {good}"}), 200, None),
        (httpx.Request("POST", "http://server/mcp"), 401, NO_TOKEN),
        (httpx.Request("GET", "http://server/mcp"), 401, NO_TOKEN),
        (httpx.Request("POST", "http://server/mcp", headers={"Authorization": "Basic YTpi"}), 401, NO_TOKEN),
        (httpx.Request("POST", "http://server/mcp", headers=bearer(expired)), 401, BAD_TOKEN),
        (httpx.Request("POST", "http://server/mcp", headers=bearer(foreign)), 401, BAD_TOKEN),
        (httpx.Request("POST", "http://server/mcp", headers=bearer("wanmcp_nobody")), 401, BAD_TOKEN),
        (httpx.Request("POST", "http://server/mcp", headers=bearer(huge)), 401, BAD_TOKEN),
        (httpx.Request("POST", f"http://server/mcp?access_token={good}"), 400, MALFORMED),
        (httpx.Request("POST", f"http://server/mcp?access_token={good}", headers=bearer(good)), 400, MALFORMED),
        (httpx.Request("POST", f"http://server/mcp?token={good}"), 401, NO_TOKEN),
        (httpx.Request("POST", "http://server/mcp", headers={"Authorization": "Bearer"}), 400, MALFORMED),
        (httpx.Request("POST", "http://server/mcp", headers=bearer(f"{good} {good}")), 400, MALFORMED),
        (httpx.Request("POST", "http://server/mcp", headers=bearer(f"{good},{good}")), 400, MALFORMED),
        (
            httpx.Request("POST", "http://server/mcp", headers=[("Authorization", f"Bearer {good}")] * 2),
            400,
            MALFORMED,
        ),
        (
            httpx.Request(
                "POST",
                "http://server/mcp",
                headers=[("Authorization", "Basic YTpi"), ("Authorization", f"Bearer {good}")],
            ),
            400,
            MALFORMED,
        ),
    ]

    async with client_of(make_gate(clock, issuer)) as client:
        for request, status, challenge in table:
            answer = await client.send(request)
            found = answer.headers.get("WWW-Authenticate")
            assert answer.status_code == status, request.headers
            if challenge is None:
                assert found is None
                assert answer.json()["id"] == f"{issuer.url}#ada"
            else:
                assert found.startswith(challenge)
                assert f'resource_metadata="{METADATA}"' in found
                assert 'scope="wan:read"' in found
                assert answer.headers["Cache-Control"] == "no-store"
                assert ("error=" in found) == (challenge is not NO_TOKEN)
                assert good not in answer.text + found

    assert "A token was refused: it has expired." in caplog.text
    assert "A token was refused: it is for another audience." in caplog.text
    # What sends the requests here writes down their addresses.
    text = "".join(record.getMessage() for record in caplog.records if record.name != "httpx")
    for secret in (good, expired, foreign, good.split(".")[2], "nobody", "YTpi"):
        assert secret not in text


async def test_a_token_without_the_scope_of_an_operation_is_told_all_that_it_needs(issuer, clock):
    token = issuer.sign(issuer.claims(clock.now(), AUDIENCE))

    async with client_of(make_gate(clock, issuer)) as client:
        answer = await client.post("/mcp", headers=bearer(token), json=calling("generate_image"))
        both = await client.post(
            "/mcp", headers=bearer(token), json=[calling("generate_image"), calling("cancel_task")]
        )

    assert answer.status_code == both.status_code == 403
    assert answer.headers["WWW-Authenticate"] == (
        'Bearer error="insufficient_scope", error_description="This needs the scope wan:order.", scope="wan:order",'
        f' resource_metadata="{METADATA}"'
    )
    assert 'scope="wan:cancel wan:order"' in both.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        ("", {"tools/list"}),
        ("wan:read", {"tools/list", "get_task"}),
        ("wan:order", {"tools/list", "get_task", "generate_image"}),
        ("wan:cancel", {"tools/list", "get_task", "cancel_task"}),
        ("wan:admin", {"tools/list", "get_task", "generate_image", "cancel_task"}),
        ("openid", {"tools/list"}),
    ],
)
async def test_a_scope_allows_what_it_names_and_what_it_includes(issuer, clock, scope, allowed):
    token = issuer.sign(issuer.claims(clock.now(), AUDIENCE, scope=scope))
    messages = {tool: calling(tool) for tool in ("get_task", "generate_image", "cancel_task")}
    messages["tools/list"] = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}

    async with client_of(make_gate(clock, issuer)) as client:
        found = {
            name: (await client.post("/mcp", headers=bearer(token), json=message)).status_code
            for name, message in messages.items()
        }

    assert found == {name: 200 if name in allowed else 403 for name in messages}


@pytest.mark.parametrize(
    ("method", "params", "scope"),
    [
        ("initialize", {}, None),
        ("server/discover", {}, None),
        ("ping", {}, None),
        ("tools/list", {}, None),
        ("prompts/list", {}, None),
        ("prompts/get", {"name": "x"}, None),
        ("notifications/initialized", {}, None),
        ("notifications/cancelled", {}, None),
        ("tools/call", {"name": "generate_image"}, Scope.ORDER),
        ("tools/call", {"name": "submit_task"}, Scope.ORDER),
        ("tools/call", {"name": "cancel_task"}, Scope.CANCEL),
        ("tools/call", {"name": "get_task"}, Scope.READ),
        ("tools/call", {"name": "unknown"}, Scope.READ),
        ("tools/call", {"name": ["generate_image"]}, Scope.READ),
        ("tools/call", [], Scope.READ),
        ("tasks/cancel", {"taskId": "x"}, Scope.CANCEL),
        ("tasks/get", {"taskId": "x"}, Scope.READ),
        ("tasks/update", {"taskId": "x"}, Scope.READ),
        ("resources/read", {"uri": "wan://tasks"}, Scope.READ),
        ("completion/complete", {}, Scope.READ),
        ("subscriptions/listen", {}, Scope.READ),
        ("unheard/of", {}, Scope.READ),
    ],
)
def test_every_message_needs_its_scope(method, params, scope):
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()

    assert find_scopes(body) == (frozenset() if scope is None else {scope})


def test_what_cannot_be_read_needs_all_that_a_message_can_need():
    assert find_scopes(b"?") == {Scope.ORDER, Scope.CANCEL}


@pytest.mark.parametrize("body", [b"", b"7", b"[]", b"[7]", b'{"jsonrpc":"2.0","id":1,"result":{}}'])
def test_what_asks_for_nothing_needs_no_scope(body):
    assert find_scopes(body) == frozenset()


def test_of_a_name_that_is_given_twice_the_one_counts_that_is_called():
    body = b'{"method":"tools/list","method":"tools/call","params":{"name":"get_task","name":"submit_task"}}'

    assert find_scopes(body) == {Scope.ORDER}


async def test_the_body_reaches_the_application_as_it_was_sent(issuer, clock):
    token = issuer.sign(issuer.claims(clock.now(), AUDIENCE))

    async def parts():
        yield b'{"jsonrpc": "2.0",'
        yield b' "method": "ping", "id": 1}'

    async with client_of(make_gate(clock, issuer)) as client:
        answer = await client.post("/mcp", headers=bearer(token), content=parts())

    assert answer.json()["body"] == '{"jsonrpc": "2.0", "method": "ping", "id": 1}'


async def test_what_else_is_protected_may_need_a_scope_as_well(issuer, clock):
    tokens = [issuer.sign(issuer.claims(clock.now(), AUDIENCE, scope=scope)) for scope in ("wan:order", "wan:admin")]

    async with client_of(make_gate(clock, issuer), Scope.ADMIN) as client:
        answers = [await client.get("/metrics", headers=bearer(token)) for token in tokens]

    assert [answer.status_code for answer in answers] == [403, 200]
    assert 'scope="wan:admin"' in answers[0].headers["WWW-Authenticate"]


async def test_while_no_token_can_be_checked_the_answer_is_to_try_again(issuer, clock, caplog):
    token = issuer.sign(issuer.claims(clock.now(), AUDIENCE))
    issuer.stop()

    async with client_of(make_gate(clock, issuer)) as client:
        answer = await client.post("/mcp", headers=bearer(token))

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert "WWW-Authenticate" not in answer.headers
    assert "A token could not be checked: the issuer gives no keys now." in caplog.text
    assert token not in caplog.text


async def test_static_tokens_and_those_of_an_issuer_are_taken_side_by_side(issuer, clock, tmp_path):
    path = tmp_path / "tokens"
    static = await to_thread.run_sync(add_token, path, "bot", frozenset({Scope.ORDER}))
    token = issuer.sign(issuer.claims(clock.now(), AUDIENCE, sub="token:bot"))

    async with client_of(make_gate(clock, issuer, path)) as client:
        found = [(await client.get("/mcp", headers=bearer(each))).json()["id"] for each in (static, token)]

    assert found == ["token:bot", f"{issuer.url}#token:bot"]


@pytest.mark.parametrize(
    ("known_by", "is_kept"),
    [
        ("{url}#ada", True),
        ("{url}#token:ada#2", True),
        ("https://former.example.com#ada", False),
        ("{url}.example.com#ada", False),
        ("{url}", False),
        ("local", False),
    ],
)
async def test_only_what_the_issuer_of_now_has_granted_is_confirmed(issuer, clock, known_by, is_kept):
    principal = Principal(known_by.format(url=issuer.url), frozenset({Scope.ORDER}))

    assert await make_gate(clock, issuer).confirm(principal) == (principal if is_kept else None)


async def test_with_static_tokens_alone_nothing_is_told_of_an_issuer(clock, tmp_path):
    path = tmp_path / "tokens"
    token = await to_thread.run_sync(add_token, path, "bot", frozenset({Scope.READ}))

    async with client_of(make_gate(clock, path=path)) as client:
        nobody = await client.get("/mcp")
        other = await client.get("/mcp", headers=bearer(hashlib.sha256(token.encode()).hexdigest()))
        known = await client.get("/mcp", headers=bearer(token))

    assert nobody.headers["WWW-Authenticate"] == 'Bearer scope="wan:read"'
    assert other.headers["WWW-Authenticate"].startswith('Bearer error="invalid_token"')
    assert "resource_metadata" not in other.headers["WWW-Authenticate"]
    assert known.json() == {"id": "token:bot", "scopes": ["wan:read"], "body": ""}


@pytest.mark.parametrize(
    ("public", "path"),
    [
        (PUBLIC, "/.well-known/oauth-protected-resource/mcp"),
        (PUBLIC, "/.well-known/oauth-protected-resource"),
        (f"{PUBLIC}/art", "/.well-known/oauth-protected-resource/art/mcp"),
    ],
)
async def test_anybody_may_read_how_to_sign_in(public, path):
    resource = ProtectedResource(public, "https://login.example.com")
    app = Router(resource.make_routes())

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://server") as client:
        found = await client.get(path, headers={"Origin": "https://inspector.example.com"})
        head = await client.head(path)
        asked = await client.options(path)

    assert found.json() == {
        "resource": f"{public}/mcp",
        "authorization_servers": ["https://login.example.com"],
        "scopes_supported": ["wan:read", "wan:order", "wan:cancel", "wan:admin"],
        "bearer_methods_supported": ["header"],
        "resource_name": "Pictures by Wan, Qwen-Image and Z-Image (wan-mcp)",
        "resource_documentation": "https://github.com/wan-mcp/wan-mcp/blob/main/docs/team.md",
    }
    assert found.headers["Cache-Control"] == "public, max-age=3600"
    assert found.headers["Access-Control-Allow-Origin"] == "*"
    assert (head.status_code, head.content) == (200, b"")
    assert (asked.status_code, asked.headers["Access-Control-Allow-Methods"]) == (204, "GET, OPTIONS")
