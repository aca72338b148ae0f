"""A real browser that looks at a server: Debian's Chromium, driven by Playwright."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, Response, expect, sync_playwright
from playwright.sync_api import Error as PlaywrightError

NO_BROWSER = "no Chromium was to be had"
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# Nothing of the world outside is needed, and nothing of it shall be asked.
_ARGUMENTS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--no-first-run",
)
# Long, since the machine may be busy; nothing waits longer than what it waits for.
_PATIENCE_MS = 120_000
# It opens by itself where nobody has seen it, over a quarter of the page.
_ASSISTANT_WAS_SEEN = (
    "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"
)
# So wide that no column of a table is cut off.
_VIEWPORT = {"width": 2500, "height": 1000}


@contextmanager
def chromium() -> Iterator[Browser]:
    """Runs a browser without a window; skips loudly where none is installed."""
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(f"CI=true: {NO_BROWSER}")
        pytest.skip(NO_BROWSER)
    expect.set_options(timeout=_PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visitor(browser: Browser, address: str, pictures: Path, name: str) -> Iterator[Page]:
    """Opens a page for somebody who did nothing here yet, and keeps a picture of how it ended.

    Args:
        browser: The browser.
        address: Base address of the server; paths of the page are relative to it.
        pictures: Where the picture goes.
        name: What the visit is called.
    """
    context = browser.new_context(base_url=address, viewport=_VIEWPORT)
    context.add_init_script(_ASSISTANT_WAS_SEEN)
    page = context.new_page()
    page.set_default_timeout(_PATIENCE_MS)
    # What greets newcomers, whenever it shows up.
    greeting = page.get_by_role("button", name="Got it")
    page.add_locator_handler(greeting, _dismiss, no_wait_after=True)
    try:
        yield page
    finally:
        picture(page, pictures, name)
        context.close()


def _dismiss(greeting: Locator) -> None:
    # It may go by itself while the page is being drawn; if it does not, this is called again.
    with suppress(PlaywrightError):
        greeting.click(timeout=2_000)


def picture(page: Page, pictures: Path, name: str) -> None:
    """Keeps a picture of the page as it is now."""
    pictures.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=pictures / f"{re.sub(r'[^A-Za-z0-9]+', '-', name)}.png")


class PolledJob:
    """What a page is told of a job while it polls it.

    Args:
        page: The page, before it asks for the first time.
    """

    def __init__(self, page: Page) -> None:
        self._responses: list[Response] = []
        page.on("response", self._note)

    def _note(self, response: Response) -> None:
        if response.request.method == "GET" and "/jobs/" in response.url:
            self._responses.append(response)

    def answers(self, job_id: str) -> list[dict[str, object]]:
        """Returns all answers about the job so far, in order."""
        return [each.json() for each in self._responses if each.url.endswith(f"/jobs/{job_id}")]

    def stages(self, job_id: str) -> list[str]:
        """Returns the stages among those answers."""
        details = [answer["status_details"] for answer in self.answers(job_id)]
        return [each["stage"] for each in details if each]
