"""The gallery over a real service in the sandbox, asked as a browser asks."""

import time

import httpx
import pytest

from fakes.filled_ledger import fill
from fakes.order_service import make_settings, running_service
from wan_mcp.web.gallery import make_gallery_app
from wan_mcp.web.security import Secrets

TOKEN = "the-token-of-this-test"
TICKET = "the-ticket-of-this-test"
HOST = "127.0.0.1:4711"


@pytest.fixture
def settings(tmp_path):
    return make_settings(tmp_path)


@pytest.fixture
def album(settings):
    """Forty images of thirty-eight orders, the newest of ten minutes ago."""
    return fill(settings.state_dir, settings.output_dir, 40, now=time.time(), painted=4)


@pytest.fixture
def large_album(settings):
    """A hundred and thirty images."""
    return fill(settings.state_dir, settings.output_dir, 130, now=time.time(), painted=2)


@pytest.fixture
async def service(settings):
    async with running_service(settings) as service:
        yield service


@pytest.fixture
async def gallery(service):
    app = make_gallery_app(service, Secrets(TOKEN, TICKET), frozenset({HOST}))
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    headers = {"Host": HOST, "Sec-Fetch-Site": "same-origin"}
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}/{TOKEN}/", headers=headers) as client:
        yield client
