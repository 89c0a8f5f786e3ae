"""One Appium session: a typed, asynchronous face of the Appium client.

The client blocks, so each session has one thread, and its calls follow one another. Every call has
a deadline. A call that misses it still holds the thread: the session is lost then, and is ended
past the thread, by a request to the server.
"""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import aiohttp
from pydantic import JsonValue, TypeAdapter, ValidationError

from harness.devices.appium.selectors import locator
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from appium.webdriver.webdriver import WebDriver
    from appium.webdriver.webelement import WebElement

    from harness.devices.appium.capabilities import Capabilities
    from harness.devices.appium.selectors import Selector

T = TypeVar("T")

# A session on a phone that lacks Appium's helpers installs them first.
START_SECONDS: Final = 240.0
CALL_SECONDS: Final = 30.0
END_SECONDS: Final = 20.0
# A call that nobody waits for any more ends its thread after this, at the latest.
_HTTP_SECONDS: Final = 300
NATIVE: Final = "NATIVE_APP"
# What an app or a page gives is untrusted: so much of it is taken.
LONGEST_TEXT: Final = 1 << 20
_LONGEST_MESSAGE: Final = 1000
_ANY: Final[TypeAdapter[JsonValue]] = TypeAdapter(JsonValue)


class AppiumError(Exception):
    """Appium, or what it drives, refused a command. The message is bounded."""


class SessionLostError(AppiumError):
    """The session is gone, or did not answer in time: nothing more comes of it."""


class AppiumSession:
    """A session that is open. Made by `appium_session`. `hide` is kept out of messages.

    `call_seconds` is how long a call may take where it says nothing else.
    """

    def __init__(self, driver: WebDriver, thread: ThreadPoolExecutor, hide: str = "") -> None:
        self._driver = driver
        self._thread = thread
        self._hide = hide
        self._lost = ""
        self.call_seconds = CALL_SECONDS

    @property
    def id(self) -> str:
        """The session's name at the server."""
        return str(self._driver.session_id)

    @property
    def lost(self) -> str:
        """Why the session is lost; "" while it is not."""
        return self._lost

    @property
    def capabilities(self) -> dict[str, JsonValue]:
        """What the server says of the session."""
        return {str(k): _ANY.validate_python(v) for k, v in self._driver.capabilities.items()}

    async def open(self, url: str, *, within: float = CALL_SECONDS) -> None:
        """Go to a page; only in a browser or a WebView."""
        await self._call("open", lambda: self._driver.get(url), within)

    async def title(self) -> str:
        """The title of the page."""
        return _text(await self._call("title", lambda: self._driver.title))

    async def script(
        self, source: str, *arguments: JsonValue, within: float = CALL_SECONDS
    ) -> JsonValue:
        """Run a function's body in the page (or a `mobile:` command); what it returns."""
        answer = await self._call(
            "script", lambda: self._driver.execute_script(source, *arguments), within
        )
        try:
            return _ANY.validate_python(answer)
        except ValidationError:  # an element
            return None

    async def contexts(self) -> list[str]:
        """What can be entered: `NATIVE_APP`, and Chrome or the app's WebViews."""
        found = await self._call("contexts", lambda: self._driver.contexts)
        return [_text(name) for name in found]

    async def context(self) -> str:
        """Where the session is."""
        return _text(await self._call("context", lambda: self._driver.current_context))

    async def enter(self, context: str, *, within: float = CALL_SECONDS) -> None:
        """Go into one of `contexts`.

        Raises:
            AppiumError: it is gone, or there is no chromedriver for it.
        """
        await self._call("enter", lambda: self._driver.switch_to.context(context), within)

    async def texts(self, selector: Selector) -> list[str]:
        """The texts of all elements that the selector finds, in the order of the screen."""

        def read() -> list[str]:
            return [_text(element.text) for element in self._elements(selector)]

        return await self._call("texts", read)

    async def text(self, selector: Selector) -> str | None:
        """The text of the element; `None` where it is not on the screen."""

        def read() -> str | None:
            element = self._element(selector)
            return None if element is None else _text(element.text)

        return await self._call("text", read)

    async def shows(self, selector: Selector) -> bool:
        """Whether the element is on the screen, in the state that the selector names."""

        def look() -> bool:
            element = self._element(selector)
            if element is None or selector.enabled is None:
                return element is not None
            return bool(element.is_enabled()) is selector.enabled

        return await self._call("shows", look)

    async def tap(self, selector: Selector) -> bool:
        """Tap the element; whether it was there."""

        def act() -> bool:
            element = self._element(selector)
            if element is not None:
                element.click()
            return element is not None

        return await self._call("tap", act)

    async def type(self, selector: Selector, text: str) -> bool:
        """Put a text in place of what a field holds; whether the field was there."""

        def act() -> bool:
            element = self._element(selector)
            if element is not None:
                element.clear()
                element.send_keys(text)
            return element is not None

        return await self._call("type", act)

    async def scroll_to(self, selector: Selector) -> None:
        """Scroll the list on the screen until it shows the element, or to its end."""
        if selector.uiautomator is not None:
            argument: dict[str, JsonValue] = {
                "strategy": "-android uiautomator",
                "selector": selector.uiautomator,
            }
            await self.script("mobile: scroll", argument)

    async def logs(self, kind: str) -> list[str]:
        """What is new in one of the driver's logs, such as `crashlog` of the XCUITest driver."""
        entries = await self._call("logs", lambda: self._driver.get_log(kind))
        given = entries if isinstance(entries, list) else []
        return [_text(entry.get("message")) for entry in given if isinstance(entry, dict)]

    async def source(self) -> str:
        """The screen's elements as XML."""
        return _text(await self._call("source", lambda: self._driver.page_source))

    async def screenshot(self, path: Path) -> bool:
        """Write a PNG; False where it cannot be made."""
        try:
            picture = await self._call("screenshot", self._driver.get_screenshot_as_png)
        except AppiumError:
            return False
        await asyncio.to_thread(path.write_bytes, picture)
        return True

    async def end(self) -> None:
        """End the session. Never raises: the server ends with what is left of it."""
        ended = False
        if not self._lost:
            with contextlib.suppress(AppiumError):
                await self._call("end", self._driver.quit, END_SECONDS)
                ended = True
        self._lost = self._lost or "the session has ended"
        if not ended:
            config = self._driver.command_executor._client_config  # noqa: SLF001 - no other way
            await _delete(f"{str(config.remote_server_addr).rstrip('/')}/session/{self.id}")

    def _element(self, selector: Selector) -> WebElement | None:
        found = self._elements(selector)
        if not found:
            return None
        return found[-1] if selector.last else found[0]

    def _elements(self, selector: Selector) -> list[WebElement]:
        strategy, value = locator(selector)
        return list(self._driver.find_elements(strategy, value))

    async def _call(self, name: str, call: Callable[[], T], within: float | None = None) -> T:
        if self._lost:
            raise SessionLostError(self._lost)
        within = self.call_seconds if within is None else within
        try:
            return await _in_thread(self._thread, call, within)
        except TimeoutError as error:
            self._lost = f"{name} did not end within {within:g} s"
            raise SessionLostError(self._lost) from error
        except Exception as error:
            message, lost = explain(error, self._hide)
            if lost:
                self._lost = f"{name}: {message}"
                raise SessionLostError(self._lost) from error
            raise AppiumError(f"{name}: {message}") from error


@asynccontextmanager
async def appium_session(
    url: str, capabilities: Capabilities, *, within: float = START_SECONDS
) -> AsyncIterator[AppiumSession]:
    """Open a session, and end it after the block.

    Args:
        url: of the server.
        capabilities: see `harness.devices.appium.capabilities`.
        within: seconds that opening it may take.

    Raises:
        UserError: the Appium client is not installed.
        AppiumError: the session could not be opened; with Appium's reason.
    """
    thread = ThreadPoolExecutor(1, thread_name_prefix="appium")
    try:
        session = await _open(url, capabilities, thread, within)
        try:
            yield session
        finally:
            await session.end()
    finally:
        # A call that hangs ends with the server, or with its own deadline.
        thread.shutdown(wait=False, cancel_futures=True)


async def _open(
    url: str, capabilities: Capabilities, thread: ThreadPoolExecutor, within: float
) -> AppiumSession:
    try:
        from appium.options.common.base import AppiumOptions  # noqa: PLC0415 - an extra
        from appium.webdriver.client_config import AppiumClientConfig  # noqa: PLC0415
        from appium.webdriver.webdriver import WebDriver  # noqa: PLC0415
    except ImportError as error:
        raise UserError("the Appium client is missing", "pip install 'tierlab[appium]'") from error

    def open_it() -> WebDriver:
        config = AppiumClientConfig(remote_server_addr=url, timeout=_HTTP_SECONDS)
        options = AppiumOptions().load_capabilities(capabilities)
        return WebDriver(command_executor=url, options=options, client_config=config)

    # Messages end up in records, and a serial is personal data.
    hide = str(capabilities.get("appium:udid", ""))
    try:
        driver = await _in_thread(thread, open_it, within)
    except TimeoutError as error:
        raise SessionLostError(f"no session was opened within {within:g} s") from error
    except Exception as error:
        message, lost = explain(error, hide)
        kind = SessionLostError if lost else AppiumError
        raise kind(f"no session was opened: {message}") from error
    return AppiumSession(driver, thread, hide)


async def _in_thread(thread: ThreadPoolExecutor, call: Callable[[], T], within: float) -> T:
    async with asyncio.timeout(within):
        return await asyncio.get_running_loop().run_in_executor(thread, call)


def explain(error: Exception, hide: str = "") -> tuple[str, bool]:
    """What an error of the client says, in one bounded line, and whether the session is lost.

    `hide` is left out of it.
    """
    # By name: the client is an extra, and its errors come from two packages below it.
    names = {each.__name__ for each in type(error).__mro__}
    text = str(getattr(error, "msg", None) or error) or type(error).__name__
    said = " ".join(text.partition("Stacktrace:")[0].split())
    lost = bool(names & {"InvalidSessionIdException", "HTTPError", "OSError"})
    if "WebDriverException" not in names:
        said = f"{type(error).__name__}: {said}"
    if hide:
        said = said.replace(hide, "(the phone)")
    return said[:_LONGEST_MESSAGE], lost


async def _delete(url: str) -> None:
    timeout = aiohttp.ClientTimeout(total=END_SECONDS)
    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
        async with aiohttp.ClientSession(timeout=timeout) as client, client.delete(url):
            pass


def _text(value: Any) -> str:  # noqa: ANN401 - whatever an app gives
    # JSON may hold halves of characters, which no file takes.
    return "" if value is None else str(value)[:LONGEST_TEXT].encode(errors="replace").decode()
