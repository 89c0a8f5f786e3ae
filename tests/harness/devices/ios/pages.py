"""Pages behind the double of XCUITest: one that is acted out, and one of a real browser."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from playwright.async_api import Error as PlaywrightError
from playwright.async_api import async_playwright

from harness.devices.browsers import InstalledBrowser, find_browser
from harness.devices.ios import scripts
from harness.profiles import BrowserSection
from tests.harness.devices.ios.xcuitest import GoneError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Page


class ActedPage:
    """Knows the harness's scripts by their text, and keeps what a page would keep."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.mark: str | None = None
        self.told: list[Any] = []
        self.answers: dict[int, Any] = {}
        self.functions: dict[str, Any] = {"tierlabTombstone": {"value": None}}
        self.title = "tierlab"
        self.gone = False

    async def open(self, url: str) -> None:
        self.opened.append(url)
        self.reload()

    def reload(self) -> None:
        """As Safari does after iOS has ended the page's process."""
        self.mark, self.told, self.answers = None, [], {}

    async def execute(self, script: str, arguments: list[Any]) -> Any:
        if self.gone:
            raise GoneError("the page has gone")
        if script == scripts.LISTEN:
            self.mark = self.mark or arguments[0]
            return self.mark == arguments[0]
        if script == scripts.TAKE:
            told, self.told = self.told[: arguments[0]], self.told[arguments[0] :]
            return json.dumps({"mark": self.mark, "told": told, "title": self.title})
        if script == scripts.CALL:
            number, name, argument = arguments
            if name in self.functions:
                value = self.functions[name]
                self.answers[number] = value(argument) if callable(value) else value
            return self.mark
        if script == scripts.ANSWER:
            answer = self.answers.pop(arguments[0], None)
            return None if answer is None else json.dumps(answer)
        raise AssertionError(f"an unknown script: {script}")


class BrowserPage:
    """A page of a real browser. Scripts are run as WebDriver has it: as a function's body."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def open(self, url: str) -> None:
        await self.page.goto(url)

    async def execute(self, script: str, arguments: list[Any]) -> Any:
        try:
            return await self.page.evaluate(
                "([body, given]) => new Function(body).apply(null, given)", [script, arguments]
            )
        except PlaywrightError as error:
            raise GoneError(str(error)) from error


@asynccontextmanager
async def browser_page() -> AsyncIterator[BrowserPage]:
    """A page of this machine's Chromium."""
    found = find_browser(BrowserSection(channels=("chrome", "chromium", "msedge")))
    assert isinstance(found, InstalledBrowser), found
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=found.path)
        try:
            yield BrowserPage(await browser.new_page())
        finally:
            await browser.close()


async def until(condition: Any, seconds: float = 10.0) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(seconds):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)
