"""The gallery of a server that people sign in to: over real HTTP, two people, a reader and an admin."""

import json
import re
import time

import anyio
import httpx
import pytest
from anyio import to_thread
from mcp import Client

from fakes.gallery_team import COOKIE, PEOPLE, add_people, running_team
from fakes.order_service import make_settings, order
from fakes.serving import NO_CERTIFICATES
from fakes.stdio_client import ERAS
from wan_mcp.app import build_server, build_service
from wan_mcp.auth.tokens import add_token, remove_token
from wan_mcp_tools.domain.principals import Principal, Scope, SignIn, acting_as

JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def team(tmp_path):
    async with running_team(tmp_path) as team:
        yield team


async def order_as(team, name, prompt="a red fox"):
    with acting_as(Principal(f"token:{name}", PEOPLE[name])):
        return await order(team.service, prompt)


async def ids(client, path="orders"):
    return [each["id"] for each in (await client.get(path)).json()["orders"]]


async def redeems(team, client, url):
    return (await team.redeem(client, url.partition("#")[2])).status_code == 200


# --- links and tickets --------------------------------------------------------------------------------------------


async def test_a_link_is_for_who_has_a_token_and_has_the_ticket_where_no_server_sees_it(team):
    answer = await team.ask_for_link("ada")
    link = answer.json()

    assert link["url"].startswith(f"{team.url}/gallery/enter#")
    assert "?" not in link["url"]
    assert answer.headers["cache-control"] == "no-store"
    async with httpx.AsyncClient(verify=NO_CERTIFICATES, trust_env=False) as client:
        assert (await client.post(f"{team.url}/gallery/links")).status_code == 401
        forged = {"Authorization": "Bearer wanmcp_nobody"}
        assert (await client.post(f"{team.url}/gallery/links", headers=forged)).status_code == 401
        assert (await client.get(f"{team.url}/gallery/links")).status_code == 405


@pytest.mark.parametrize("era", ERAS)
async def test_an_agent_reads_a_link_for_its_person(team, era):
    async with team.agent("bob", era) as agent, team.browser() as client:
        links = [json.loads((await agent.read_resource("wan://gallery")).contents[0].text) for _ in range(2)]
        assert links[0]["url"] != links[1]["url"]
        assert await redeems(team, client, links[1]["url"])
        assert 'data-person="bob"' in (await client.get("")).text


async def test_where_nobody_signs_in_the_resource_tells_the_command(tmp_path):
    async with Client(build_server(build_service(make_settings(tmp_path)))) as client:
        told = json.loads((await client.read_resource("wan://gallery")).contents[0].text)

    assert "`wan-mcp gallery`" in told["how"]
    assert "url" not in told


async def test_a_ticket_opens_one_session_whose_cookie_only_this_host_gets_and_no_script(team):
    ticket = await team.make_ticket("ada")
    async with team.browser() as first, team.browser() as second:
        opened = await team.redeem(first, ticket)
        assert (await team.redeem(second, ticket)).status_code == 401
        assert (await first.get("orders")).status_code == 200
        assert (await second.get("orders")).status_code == 401

    name, *attributes = opened.headers["set-cookie"].split("; ")
    assert name.startswith(f"{COOKIE}=")
    told = {each.partition("=")[0].lower(): each.partition("=")[2].lower() for each in attributes}
    assert {"secure", "httponly"} <= set(told)
    assert (told["samesite"], told["path"]) == ("strict", "/")
    assert "domain" not in told
    assert 3500 < int(told["max-age"]) <= 3600


async def test_a_ticket_that_one_replica_has_taken_is_refused_by_the_next_and_its_session_known(tmp_path):
    people = await to_thread.run_sync(add_people, tmp_path)
    async with running_team(tmp_path, people) as one, running_team(tmp_path, people) as other:
        ticket = await one.make_ticket("ada")
        async with one.browser() as client, other.browser() as late:
            assert (await one.redeem(client, ticket)).status_code == 200
            assert (await other.redeem(late, ticket)).status_code == 401
            late.headers["Cookie"] = client.headers["Cookie"]
            assert (await late.get("orders")).status_code == 200


async def test_of_many_who_give_up_one_ticket_at_once_one_gets_in(team):
    ticket, statuses = await team.make_ticket("ada"), []

    async def redeem() -> None:
        async with team.browser() as client:
            statuses.append((await team.redeem(client, ticket)).status_code)

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(redeem)

    assert sorted(statuses) == [200] + [401] * 7


async def test_a_ticket_is_over_after_five_minutes_and_a_session_after_an_hour(team):
    ticket = await team.make_ticket("ada")
    async with team.session("ada") as client, team.browser() as late:
        team.clock.seconds = 299
        assert (await client.get("orders")).status_code == 200
        team.clock.seconds = 301
        assert (await team.redeem(late, ticket)).status_code == 401
        team.clock.seconds = 3590
        assert (await client.get("orders")).status_code == 200
        team.clock.seconds = 3601
        assert (await client.get("orders")).status_code == 401


async def test_a_link_of_another_replaces_no_session_unless_its_person_agrees(team):
    ticket = await team.make_ticket("bob")
    async with team.session("ada") as browser:
        hers = browser.headers["Cookie"]
        asked = await team.redeem(browser, ticket)
        assert (asked.status_code, asked.json()) == (409, {"person": "ada", "next": "bob"})
        assert "set-cookie" not in asked.headers
        assert (await browser.get("session")).json() == {"person": "ada"}
        assert (await team.redeem(browser, ticket, replace="yes")).status_code == 409

        assert (await team.redeem(browser, ticket, replace=True)).status_code == 200
        assert (await browser.get("session")).json() == {"person": "bob"}
        # Hers has ended, wherever its cookie is.
        assert (await browser.get("orders", headers={"Cookie": hers})).status_code == 401


async def test_a_new_link_of_ones_own_opens_at_once_and_a_forged_one_ends_no_session(team):
    async with team.session("ada") as browser:
        assert (await team.redeem(browser, await team.make_ticket("ada"))).status_code == 200
        assert (await team.redeem(browser, "forged.ticket", replace=True)).status_code == 401
        used = await team.make_ticket("bob")
        async with team.browser() as his:
            assert (await team.redeem(his, used)).status_code == 200
        assert (await team.redeem(browser, used, replace=True)).status_code == 401
        assert (await browser.get("session")).json() == {"person": "ada"}


async def test_the_page_of_who_comes_from_another_site_finds_out_whose_session_there_is(team):
    async with team.session("ada") as browser, team.browser() as stranger:
        # A browser keeps the cookie to itself when another site leads here.
        led = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        page = await stranger.get("", headers=led)
        assert page.status_code == 401
        assert "./enter.js" in page.text
        assert (await browser.get("session")).json() == {"person": "ada"}
        assert (await stranger.get("session")).json() == {}
        assert (await browser.get("session", headers={"Sec-Fetch-Site": "cross-site"})).status_code == 404
        other = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        assert (await browser.get("session", headers=other)).status_code == 404


async def test_what_was_not_signed_for_this_opens_nothing(team, tmp_path):
    ticket = await team.make_ticket("ada")
    payload, _, signature = ticket.partition(".")
    other = "B" if payload[20] == "A" else "A"
    forged = [
        f"{payload[:20]}{other}{payload[21:]}.{signature}",
        f"{payload}.",
        payload,
        "",
        ".",
        "é.é",
        "x" * 9000,
        7,
    ]
    async with team.browser() as client, team.session("ada") as signed_in:
        for each in (*forged, None, [], {}):
            assert (await team.redeem(client, each)).status_code == 401, each
        cookie = signed_in.headers["Cookie"].partition("=")[2]
        # Neither is worth anything as the other.
        assert (await team.redeem(client, cookie)).status_code == 401
        for each in (ticket, *map(str, forged[:4])):
            headers = {"Cookie": f"{COOKIE}={each}".encode()}
            assert (await client.get("orders", headers=headers)).status_code == 401, each
        # A refused cookie has not used it up.
        assert (await team.redeem(client, ticket)).status_code == 200
    people = (team.tokens_file, team.tokens)
    async with (
        running_team(tmp_path, people, key=b"a key of another installation...") as alien,
        alien.browser() as it,
    ):
        assert (await alien.redeem(it, await team.make_ticket("ada"))).status_code == 401
    bare = await team.make_ticket("reader")
    assert team.tokens["reader"] not in bare


# --- sessions -----------------------------------------------------------------------------------------------------


async def test_each_sees_their_own_and_an_admin_sees_all(team):
    hers, his = await order_as(team, "ada"), await order_as(team, "bob", "a blue bird")
    async with team.session("ada") as ada, team.session("bob") as bob, team.session("root") as root:
        assert await ids(ada) == [hers.local_id]
        assert await ids(bob) == [his.local_id]
        assert await ids(root) == [his.local_id, hers.local_id]
        shown = (await root.get("orders")).json()["orders"]
        assert [each["person"] for each in shown] == ["bob", "ada"]
        assert (await root.get(f"orders/{hers.local_id}")).json()["person"] == "ada"
        assert "person" not in (await ada.get("orders")).json()["orders"][0]
        assert (await ada.get("open")).json()["count"] == {"orders": 1, "images": 1}
        image = await ada.get(f"images/{hers.local_id}/1")
        assert image.headers["content-type"] == "image/png"
        assert (await root.get(f"images/{hers.local_id}/1")).content == image.content
        small = await ada.get(f"thumbnails/{hers.local_id}/1")
        assert small.headers["vary"] == "Cookie"


async def test_a_picture_of_an_object_store_is_saved_under_a_name_and_not_its_key(tmp_path, bucket):
    async with running_team(tmp_path, **bucket.environ()) as team:
        hers = await order_as(team, "ada")
        async with team.session("ada") as ada:
            (shown,) = (await ada.get("orders")).json()["orders"]
            assert (await ada.get(f"images/{hers.local_id}/1")).headers["content-type"] == "image/png"
    assert re.fullmatch(r"20[0-9]{6}-a-red-fox-[0-9a-z]{8}-1\.png", shown["task"]["images"][0]["name"])


async def test_anothers_id_is_answered_as_an_unknown_one(team):
    hers = await order_as(team, "ada")
    body = {"idempotency_key": "one", "prompt": "more"}
    asked = [
        ("GET", "orders/{}", None),
        ("POST", "orders/{}/again", body),
        ("GET", "orders/{}/edit/1", None),
        ("POST", "orders/{}/edit/1", body),
        ("POST", "orders/{}/fetch", {}),
        ("GET", "thumbnails/{}/1", None),
        ("GET", "inputs/{}/1", None),
        ("GET", "images/{}/1", None),
    ]
    async with team.session("bob") as bob:
        for known in (hers.local_id, hers.task_id):
            unknown = "local-" + "0" * 32 if known == hers.local_id else "0" * 36
            for method, path, sent in asked:
                answers = [
                    await bob.request(method, path.format(each), json=sent)
                    if sent is not None
                    else await bob.request(method, path.format(each))
                    for each in (known, unknown)
                ]
                assert {answer.status_code for answer in answers} == {404}, path
                texts = [each.text.replace(known, "ID").replace(unknown, "ID") for each in answers]
                assert texts[0] == texts[1]
        assert await ids(bob) == []


async def test_no_place_of_the_server_is_told(team, tmp_path):
    hers = await order_as(team, "ada")
    async with team.session("ada") as ada:
        texts = [(await ada.get(path)).text for path in ("orders", "open", f"orders/{hers.local_id}", "costs")]
        (image,) = (await ada.get(f"orders/{hers.local_id}")).json()["task"]["images"]

    assert not any(str(tmp_path) in text or '"path"' in text for text in texts)
    assert image["name"].endswith("-1.png")
    assert set(image) == {"name", "width", "height", "bytes"}


async def test_an_admin_is_told_no_place_of_what_the_local_user_has_ordered(team, tmp_path):
    words = f"like {tmp_path}/pictures/fox.png"
    local = await order(team.service, words, output_dir=str(tmp_path / "pictures" / "foxes"))
    async with team.session("root") as root:
        texts = [(await root.get(path)).text for path in ("orders", f"orders/{local.local_id}")]

    assert all(local.local_id in text for text in texts)
    # The words of an order are handed on as they are.
    assert all(words in text for text in texts)
    assert not any(str(tmp_path) in text.replace(words, "") for text in texts)


async def test_a_button_is_there_and_works_for_who_may_press_it(team):
    made = {name: await order_as(team, name) for name in ("ada", "bob")}
    with acting_as(Principal("token:reader", PEOPLE["ada"])):
        made["reader"] = await order(team.service, "a green frog")
    expected = {"ada": ("order cancel", 200, 409), "bob": ("order", 200, 403), "reader": ("", 403, 403)}
    for name, (rights, again, cancel) in expected.items():
        task = made[name]
        async with team.session(name) as client:
            assert f'<body data-rights="{rights}" data-person="{name}">' in (await client.get("")).text
            ordered = await client.post(f"orders/{task.local_id}/again", json={"idempotency_key": "k"})
            assert ordered.status_code == again
            edit = {"idempotency_key": "e", "prompt": "in snow"}
            edited = await client.post(f"orders/{task.local_id}/edit/1", json=edit)
            assert (edited.status_code == 403) == (again == 403)
            refused = await client.post(f"orders/{task.local_id}/cancel", json={})
            assert (refused.status_code == 403) == (cancel == 403)
            if again == 403:
                assert "wan:order" in ordered.json()["message"]
            if cancel == 403:
                assert "wan:cancel" in refused.json()["message"]
            # In this order none is missed that ends meanwhile.
            seen = {*await ids(client, "open"), *await ids(client)}
            assert len(seen) == (1 if again == 403 else 3)


async def test_one_press_is_one_order_by_all_replicas_and_anothers_press_another(tmp_path):
    people = await to_thread.run_sync(add_people, tmp_path)
    async with running_team(tmp_path, people) as one, running_team(tmp_path, people) as two:
        hers, his = await order_as(one, "ada"), await order_as(one, "bob")
        body = {"idempotency_key": "the same"}
        async with one.session("ada") as ada, two.session("bob") as bob, two.browser() as elsewhere:
            elsewhere.headers["Cookie"] = ada.headers["Cookie"]
            assert (await ada.post(f"orders/{hers.local_id}/again", json=body)).status_code == 200
            assert (await elsewhere.post(f"orders/{hers.local_id}/again", json=body)).status_code == 409
            assert (await bob.post(f"orders/{his.local_id}/again", json=body)).status_code == 200


async def test_orders_from_the_gallery_count_as_calls(tmp_path):
    async with running_team(tmp_path, WAN_MCP_USER_CALLS_PER_MINUTE="1") as team:
        hers = await order_as(team, "ada")
        async with team.session("ada") as ada:
            statuses = [
                (await ada.post(f"orders/{hers.local_id}/again", json={"idempotency_key": key})).status_code
                for key in ("one", "two")
            ]
            assert statuses == [200, 429]
            assert (await ada.get("open")).status_code == 200


FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Content-Type": "text/plain"},
    {"Content-Type": "application/x-www-form-urlencoded"},
    {"Sec-Fetch-Site": ""},
]
"""What a browser says of a request that the page has not made."""


async def test_no_page_of_others_orders_signs_in_or_signs_out(team):
    hers, ticket = await order_as(team, "ada"), await team.make_ticket("bob")
    async with team.session("ada") as ada:
        for headers in FOREIGN:
            for path, content in (
                (f"orders/{hers.local_id}/again", '{"idempotency_key": "one"}'),
                ("session", f'{{"ticket": "{ticket}"}}'),
                ("sign-out", "{}"),
            ):
                answer = await ada.post(path, content=content, headers=JSON | headers)
                assert answer.status_code in (403, 404), (path, headers)
                assert "set-cookie" not in answer.headers
        assert await ids(ada, "open") == []
        assert await ids(ada) == [hers.local_id]


async def test_a_page_of_others_sees_nothing_though_the_browser_sends_the_cookie(team):
    hers = await order_as(team, "ada")
    async with team.session("ada") as ada:
        embed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
        for path in ("orders", f"images/{hers.local_id}/1", "gallery.js", ""):
            assert (await ada.get(path, headers=embed)).status_code == 404
        frame = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
        visit = frame | {"Sec-Fetch-Dest": "document"}
        for path in ("", "enter"):
            assert (await ada.get(path, headers=frame)).status_code == 404
            assert (await ada.get(path, headers=visit)).status_code == 200


async def test_who_signs_out_is_out_even_with_a_copy_of_the_cookie(team):
    async with team.session("ada") as ada, team.session("ada") as elsewhere:
        answer = await ada.post("sign-out", json={})
        assert answer.status_code == 200
        assert f'{COOKIE}=""; ' in answer.headers["set-cookie"]
        assert "Max-Age=0" in answer.headers["set-cookie"]
        assert (await ada.get("orders")).status_code == 401
        page = await ada.get("")
        assert page.status_code == 401
        assert "enter.js" in page.text
        assert (await elsewhere.get("orders")).status_code == 200


async def test_with_the_token_goes_the_session_and_the_next_token_of_the_name_does_not_bring_it_back(team):
    ticket = await team.make_ticket("ada")
    async with team.session("ada") as ada, team.session("bob") as bob:
        await to_thread.run_sync(remove_token, team.tokens_file, "ada")
        assert (await ada.get("orders")).status_code == 401
        await to_thread.run_sync(add_token, team.tokens_file, "ada", PEOPLE["ada"])
        assert (await ada.get("orders")).status_code == 401
        assert (await team.redeem(ada, ticket)).status_code == 401
        assert (await bob.get("orders")).status_code == 200


async def test_a_session_loses_what_its_token_loses_and_gains_nothing(team):
    text = team.tokens_file.read_text()
    async with team.session("root") as root, team.session("reader") as reader:
        await to_thread.run_sync(
            team.tokens_file.write_text,
            text.replace(":wan:admin", ":wan:cancel,wan:read").replace(":wan:read\n", ":wan:admin\n", 1),
        )
        await order_as(team, "ada")
        page = (await root.get("")).text
        assert 'data-rights="cancel"' in page
        assert await ids(root) == []
        assert 'data-rights=""' in (await reader.get("")).text
        assert await ids(reader) == []


async def test_a_session_by_an_issuers_token_ends_with_it(tmp_path):
    ends_at = time.time() + 100

    async def verify(token: str) -> Principal:
        assert token == "wan-issued"
        return Principal("https://login.example#eve", frozenset({Scope.ORDER}), SignIn(ends_at=ends_at))

    path, _ = people = await to_thread.run_sync(add_people, tmp_path)
    eve = (path, {"eve": "wan-issued"})
    async with running_team(tmp_path, eve, verify=verify) as team, team.browser() as client:
        opened = await team.redeem(client, await team.make_ticket("eve"))
        assert int(opened.headers["set-cookie"].partition("Max-Age=")[2].partition(";")[0]) <= 100
        assert 'data-person="eve"' in (await client.get("")).text
        team.clock.seconds = 101
        assert (await client.get("orders")).status_code == 401
        cookie = client.headers["Cookie"]
    for issuer, status in (("https://login.example", 200), ("https://login.example.com", 401)):
        # Where another issuer is set by now, what the former has opened is over.
        async with (
            running_team(tmp_path, eve, verify=verify, issuer=issuer) as team,
            team.browser(Cookie=cookie) as client,
        ):
            assert (await client.get("orders")).status_code == status
    # Where that issuer's tokens are taken no more, neither is what they opened.
    async with running_team(tmp_path, people) as team, team.browser(Cookie=cookie) as client:
        assert (await client.get("orders")).status_code == 401


# --- addresses ----------------------------------------------------------------------------------------------------


async def test_behind_a_proxy_with_a_prefix_every_address_leads_through_it(tmp_path):
    public = "https://pictures.example.com/art"
    host = {"Host": "pictures.example.com"}
    async with running_team(tmp_path, public_url=public) as team, team.browser(**host) as client:
        link = (await team.ask_for_link("ada")).json()["url"]
        assert link.startswith(f"{public}/gallery/enter#")
        origin = {"Origin": "https://pictures.example.com"}
        opened = await client.post("session", json={"ticket": link.partition("#")[2]}, headers=origin)
        name, *attributes = opened.headers["set-cookie"].split("; ")
        assert name.startswith("__Secure-wan-gallery=")
        assert "Path=/art/gallery" in attributes
        client.headers["Cookie"] = name
        for base in (team.url, f"{team.url}/art"):
            assert (await client.get(f"{base}/gallery/orders")).status_code == 200
            led = await client.get(f"{base}/gallery")
            assert str(led.url.join(led.headers["location"])) == f"{base}/gallery/"
            page = (await client.get(f"{base}/gallery/")).text
            assert '"/' not in page
        plain = {"Origin": "http://pictures.example.com"}
        assert (await client.post("sign-out", json={}, headers=plain)).status_code == 403
        assert (await client.get("orders", headers={"Host": "evil.example"})).status_code == 421


async def test_every_answer_tells_the_browser_to_be_strict(team):
    async with team.session("ada") as ada, team.browser() as stranger:
        answers = [
            await who.get(path) for who in (ada, stranger) for path in ("", "enter", "enter.js", "orders", "no")
        ]

    for answer in answers:
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 404, 401, 200, 200, 401, 401]
