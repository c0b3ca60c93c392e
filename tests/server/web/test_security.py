"""Who may see the gallery, and what a browser is told about it."""

import httpx
import pytest

from wan_mcp.web.security import AccessControl, Secrets

TOKEN = "the-token-of-this-test"
HOST = "127.0.0.1:4711"


def asking(app, **headers):
    sent = {"Host": HOST} | {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=f"http://{HOST}", headers=sent)


async def status(gallery, path, method="GET", **headers):
    async with asking(gallery._transport.app, **headers) as client:
        return (await client.request(method, path)).status_code


@pytest.mark.parametrize(
    "path",
    ["/", "", f"/{TOKEN}", "/orders", f"/{TOKEN[:-1]}/", f"/{TOKEN}x/", f"/{TOKEN.upper()}/", f"//{TOKEN}/", "/é/"],
)
async def test_without_the_token_nothing_is_found(gallery, path):
    assert await status(gallery, path) == 404


async def test_a_stranger_learns_nothing_from_the_answer(gallery):
    async with asking(gallery._transport.app) as client:
        answers = [await client.get(path) for path in ("/", "/orders", "/wrong/orders", f"/{TOKEN}/nothing-here")]

    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers[:3]}) == 1
    assert TOKEN not in answers[0].text


@pytest.mark.parametrize(
    "host", ["evil.example:4711", "127.0.0.1", "127.0.0.1:80", "127.0.0.1:4711.evil.example", "0.0.0.0:4711", ""]
)
async def test_a_name_that_is_not_ours_is_not_answered(gallery, host):
    assert await status(gallery, f"/{TOKEN}/", Host=host) == 404


async def test_two_names_are_not_answered(gallery):
    async def inside(scope, receive, send):
        raise AssertionError("let in")

    sent = []

    async def send(message):
        sent.append(message)

    headers = [(b"host", HOST.encode()), (b"host", b"evil.example")]
    scope = {"type": "http", "method": "GET", "path": f"/{TOKEN}/", "headers": headers, "query_string": b""}
    await AccessControl(inside, Secrets(TOKEN), frozenset({HOST}))(scope, None, send)
    assert sent[0]["status"] == 404


@pytest.mark.parametrize("sender", ["cross-site", "same-site"])
@pytest.mark.parametrize("path", ["orders", "gallery.js", "thumbnails/local-000001/1", "images/local-000001/1"])
async def test_another_site_that_knew_the_address_would_still_get_nothing(album, gallery, path, sender):
    assert await status(gallery, f"/{TOKEN}/{path}", Sec_Fetch_Site=sender, Sec_Fetch_Mode="no-cors") == 404
    navigate = {"Sec_Fetch_Site": sender, "Sec_Fetch_Mode": "navigate"}
    assert await status(gallery, f"/{TOKEN}/{path}", **navigate, Sec_Fetch_Dest="document") == 404


async def test_a_person_may_come_from_anywhere_but_not_inside_a_frame(gallery):
    navigate = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}

    assert await status(gallery, f"/{TOKEN}/", **navigate, Sec_Fetch_Dest="document") == 200
    assert await status(gallery, f"/{TOKEN}/", **navigate, Sec_Fetch_Dest="iframe") == 404
    assert await status(gallery, f"/{TOKEN}/", Sec_Fetch_Site="none") == 200


async def test_a_ticket_opens_the_page_once(gallery):
    async with asking(gallery._transport.app) as client:
        first = await client.get("/the-ticket-of-this-test")
        second = await client.get("/the-ticket-of-this-test")

    assert (first.status_code, first.headers["location"]) == (303, f"/{TOKEN}/")
    assert second.status_code == 404


@pytest.mark.parametrize("path", ["", "gallery.js", "orders", "nothing-here"])
async def test_every_answer_tells_the_browser_to_be_strict(gallery, path):
    headers = (await gallery.get(path)).headers

    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["img-src"] == "'self' data:"
    assert policy["frame-ancestors"] == policy["form-action"] == policy["base-uri"] == "'none'"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert not [name for name in headers if name.startswith("access-control-")]


@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "DELETE", "PATCH"])
async def test_other_methods_change_nothing(gallery, method):
    answer = await gallery.request(method, "orders", headers={"Content-Type": "application/json"})

    assert answer.status_code == 405
