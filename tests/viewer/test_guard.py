"""Who is refused: tokens, hosts, origins, paths."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Iterator

import pytest

pytest.importorskip("aiohttp", reason="aiohttp is not installed")
import aiohttp

from stainstream.cli.logs import set_up
from stainstream.viewer.sink import TOKEN

from .conftest import Streaming, get, run, streaming, viewer

PIXELS = ("/", "/main.js", "/stream", "/stream.mjpg", "/snapshot.zip", "/metrics")
ANYWHERE = "&host=0.0.0.0"


@pytest.fixture(scope="module")
def page() -> Iterator[Streaming]:
    """A stream to be looked at from this computer."""
    with streaming() as running:
        yield running


@pytest.fixture(scope="module")
def public() -> Iterator[Streaming]:
    """A stream that asks for a token."""
    with streaming(view=ANYWHERE) as running:
        yield running


def here(page: Streaming) -> str:
    """The page by way of the loopback, without a token."""
    return f"http://127.0.0.1:{page.base.rpartition(':')[2]}"


def test_without_or_with_a_wrong_token_there_is_401_and_no_pixel(public: Streaming) -> None:
    async def look(page: Streaming) -> None:
        for path in PIXELS:
            for offered in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": "stainstream-1=wrong"}):
                status, body, _ = await get(here(page) + path, **offered)
                assert (status, len(body) < 200) == (401, True), path
            assert (await get(f"{here(page)}{path}?token=wrong"))[0] == 401
            assert (await get(f"{here(page)}{path}?token="))[0] == 401
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            async with aiohttp.ClientSession() as session, session.ws_connect(f"{here(page)}/stream?token=wrong"):
                pass
        assert refusal.value.status == 401
        assert page.view._server is not None
        assert page.view._server.hub.sent.frames == 0

    assert "/?token=" in public.url
    run(look(public))


def test_the_token_lets_in_as_query_header_and_cookie(public: Streaming) -> None:
    async def look(page: Streaming) -> None:
        token = page.url.partition("token=")[2]
        status, _, headers = await get(f"{here(page)}/?token={token}")
        assert (status, headers["Location"]) == (303, "/")  # it does not stay in the address
        cookie = headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert (await get(f"{here(page)}/", Cookie=cookie.partition(";")[0]))[0] == 200
        assert (await get(f"{here(page)}/metrics", Authorization=f"Bearer {token}"))[0] == 200
        assert (await get(f"{here(page)}/snapshot.zip?token={token}"))[0] == 200
        async with viewer(page) as client:
            await client.frame()

    run(look(public))


def test_health_needs_no_token(public: Streaming) -> None:
    assert run(get(f"{here(public)}/healthz"))[:2] == (200, b"ok\n")
    assert run(get(f"{here(public)}/readyz"))[:2] == (200, b"ready\n")


@pytest.mark.parametrize("json", [False, True])
def test_the_token_is_said_once_to_people_and_never_in_logs_of_json(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, json: bool
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    set_up(json=json)
    try:
        with streaming(view=ANYWHERE) as page:
            said = capfd.readouterr().err
            token = page.url.partition("token=")[2]
            assert len(token) >= 20
            assert said.count(token) == (0 if json else said.count("viewer at"))
            assert page.base in said
        monkeypatch.setenv(TOKEN, "of-my-own")
        with streaming(view=ANYWHERE) as page:
            said = capfd.readouterr().err
            assert run(get(f"{here(page)}/metrics?token=of-my-own"))[0] == 200
            assert "of-my-own" not in said
            assert f"the token is that of {TOKEN}" in said
    finally:
        logging.captureWarnings(False)


def test_two_pages_have_different_tokens() -> None:
    with streaming(view=ANYWHERE) as one, streaming(view=ANYWHERE) as other:
        assert one.url.partition("token=")[2] != other.url.partition("token=")[2]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8560", "127.0.0.1.evil.example", "10.0.0.7", ""])
def test_on_loopback_other_hosts_are_refused(host: str, page: Streaming) -> None:
    """A stranger's page whose name was made to point here: DNS rebinding."""
    for path in (*PIXELS, "/healthz"):
        status, body, _ = run(get(page.base + path, Host=host))
        assert (status, len(body) < 200) == (403, True)


@pytest.mark.parametrize("host", ["localhost", "localhost:9000", "127.0.0.1", "[::1]:80", "127.0.0.2"])
def test_on_loopback_this_computers_names_are_welcome(host: str, page: Streaming) -> None:
    assert run(get(f"{page.base}/", Host=host))[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
    ],
)
def test_pages_of_other_sites_are_refused(headers: dict[str, str], page: Streaming) -> None:
    async def look(page: Streaming) -> None:
        for path in PIXELS[1:]:
            assert (await get(page.base + path, **headers))[0] == 403
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            async with viewer(page, **headers):
                pass
        assert refusal.value.status == 403

    run(look(page))


def test_our_own_page_and_links_to_it_are_welcome(page: Streaming) -> None:
    async def look(page: Streaming) -> None:
        async with viewer(page, Origin=page.base, **{"Sec-Fetch-Site": "same-origin"}) as client:
            await client.frame()
        link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        assert (await get(f"{page.base}/", **link))[0] == 200

    run(look(page))


@pytest.mark.parametrize(
    "path",
    [
        "/../pair.py",
        "/..%2fpair.py",
        "/%2e%2e/%2e%2e/errors.py",
        "/page/../../errors.py",
        "//etc/passwd",
        "/..\\..\\errors.py",
        "/main.js/../../errors.py",
        "/main.js%00.html",
    ],
)
def test_no_path_leads_out(path: str, page: Streaming) -> None:
    with socket.create_connection(("127.0.0.1", int(page.base.rpartition(":")[2]))) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while part := raw.recv(65536):
            answer += part
    assert answer.split(b" ")[1] in (b"400", b"404")
    assert b"import" not in answer


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_is_changed_by_plain_requests(method: str, page: Streaming) -> None:
    async def ask(page: Streaming) -> int:
        async with aiohttp.ClientSession() as session, session.request(method, f"{page.base}/stream") as answer:
            return answer.status

    assert run(ask(page)) == 405


def test_every_answer_forbids_what_the_page_does_not_need(page: Streaming) -> None:
    for path in ("/", "/viewer.css", "/snapshot.zip", "/metrics", "/nothing", "/stream"):
        _, _, headers = run(get(page.base + path))
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "http" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "aiohttp" not in headers["Server"]
