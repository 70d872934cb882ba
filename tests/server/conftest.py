"""A browser for the chat page's tests: Debian's chromium, driven by Playwright."""
import os
import pathlib
import shutil
import sys

import pytest
from playwright.sync_api import sync_playwright

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))

from fake_server import FakeServer

OTHER_NAME = "box.test"


@pytest.fixture(scope="session")
def browser():
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no chromium on this machine")
    with sync_playwright() as playwright:
        # OTHER_NAME is this machine as others of the house see it, without TLS: browsers keep the clipboard
        # and more from such pages.
        arguments = [f"--host-resolver-rules=MAP {OTHER_NAME} 127.0.0.1"]
        # Its sandbox does not work for root, as whom containers run tests.
        arguments += ["--no-sandbox"] if os.getuid() == 0 else []
        chromium = playwright.chromium.launch(executable_path=found, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture
def fake():
    with FakeServer() as server:
        yield server


@pytest.fixture
def context(browser):
    """A person's browser, with nothing kept yet."""
    context = browser.new_context(viewport={"width": 1200, "height": 800}, accept_downloads=True)
    yield context
    context.close()


@pytest.fixture
def page(context, fake):
    page = context.new_page()
    page.goto(fake.url)
    return page
