"""A small client of the Chrome DevTools Protocol, over one websocket.

One connection to the browser carries everything: commands are answered by number, and each page is
a session inside it (`Target.attachToTarget` with `flatten`), so that one loss of the connection is
one loss, told once. Every command has a deadline, and every message a bound.

Format: https://chromedevtools.github.io/devtools-protocol/ and
content/browser/devtools/devtools_session.cc of Chromium.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    Listener = Callable[[dict[str, Any]], None]

CONNECT_SECONDS: Final = 10.0
COMMAND_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 2.0
# A screenshot of a tablet, in base64; a probe report has 0.1 MB.
LARGEST_MESSAGE: Final = 64 << 20
# /json/list of a phone on which somebody left a hundred tabs has 0.1 MB.
LARGEST_LIST: Final = 8 << 20
_WORDS: Final = 400


class CdpError(Exception):
    """The browser refused a command; the message is its own."""


class CdpTimeoutError(Exception):
    """The browser did not answer a command in time."""


class CdpLostError(Exception):
    """The connection is gone, and with it the browser or the way to it."""


class Cdp:
    """A connection to a browser.

    Args:
        http: owns the connection.
        socket: an open websocket.
    """

    def __init__(
        self, http: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse
    ) -> None:
        self._http = http
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._owners: dict[int, str | None] = {}
        self._listeners: dict[tuple[str | None, str], list[Listener]] = {}
        self._on_lost: list[Callable[[str], None]] = []
        self._lost: str | None = None
        self._closing = False
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, url: str, *, within: float = CONNECT_SECONDS) -> Self:
        """Connect to a websocket address, such as `ws://127.0.0.1:9222/devtools/browser/ID`.

        Raises:
            CdpLostError: nobody answers there, or not as a browser does.
        """
        http = aiohttp.ClientSession()
        try:
            async with asyncio.timeout(within):
                # Chrome refuses connections that come from a web page: no Origin is sent.
                socket = await http.ws_connect(url, max_msg_size=LARGEST_MESSAGE, autoping=True)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            await http.close()
            raise CdpLostError(f"no DevTools at {_place(url)}: {_reason(error)}") from error
        except BaseException:
            await http.close()
            raise
        return cls(http, socket)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def lost(self) -> str | None:
        """Why the connection is gone; `None` while it stands, and after `close`."""
        return self._lost

    def on_lost(self, listener: Callable[[str], None]) -> None:
        """Call `listener` once, with the reason, when the connection is lost; not for `close`."""
        if self._lost is not None:
            listener(self._lost)
        else:
            self._on_lost.append(listener)

    def on(self, event: str, listener: Listener, *, session: str | None = None) -> None:
        """Call `listener` with the parameters of every event of that name.

        Args:
            event: such as `Target.targetCrashed`.
            listener: must not block; what it raises ends the connection.
            session: the page's; `None`: the browser's own.
        """
        self._listeners.setdefault((session, event), []).append(listener)

    def forget(self, session: str) -> None:
        """Drop the listeners of a page's session."""
        for key in [key for key in self._listeners if key[0] == session]:
            del self._listeners[key]

    def abandon(self, session: str, reason: str) -> None:
        """Wait no longer for the answers of a page that is gone: the browser never gives them."""
        for number, answer in self._waiting.items():
            if self._owners[number] == session and not answer.done():
                answer.set_exception(CdpError(reason))

    async def send(
        self,
        method: str,
        parameters: dict[str, Any] | None = None,
        *,
        session: str | None = None,
        within: float = COMMAND_SECONDS,
    ) -> dict[str, Any]:
        """Send a command; its result.

        Raises:
            CdpError: the browser refuses it.
            CdpTimeoutError: no answer within `within` seconds.
            CdpLostError: the connection is gone, before or meanwhile.
        """
        if self._lost is not None or self._closing:
            raise CdpLostError(self._lost or "the connection was closed")
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters or {}}
        if session is not None:
            message["sessionId"] = session
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number], self._owners[number] = answer, session
        try:
            async with asyncio.timeout(within):
                await self._socket.send_str(json.dumps(message))
                return await answer
        except TimeoutError as error:
            raise CdpTimeoutError(f"{method} was not answered within {within:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise CdpLostError(f"{method} could not be sent: {_reason(error)}") from error
        finally:
            del self._waiting[number], self._owners[number]
            if answer.done() and not answer.cancelled():
                answer.exception()  # seen, whoever was first

    async def _read(self) -> None:
        reason = "the browser closed the connection"
        try:
            while True:
                message = await self._socket.receive()
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._take(message.data)
                elif message.type is aiohttp.WSMsgType.ERROR:
                    reason = f"the connection broke: {_reason(self._socket.exception())}"
                    break
                elif message.type is not aiohttp.WSMsgType.BINARY:
                    break
        except (aiohttp.ClientError, OSError) as error:
            reason = f"the connection broke: {_reason(error)}"
        except (ArithmeticError, LookupError, TypeError, ValueError, RecursionError) as error:
            reason = f"the browser sent what nobody expects: {_reason(error)}"
        finally:
            self._end(reason)

    def _end(self, reason: str) -> None:
        if self._closing:
            reason = "the connection was closed"
        else:
            self._lost = reason
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(CdpLostError(reason))
        if not self._closing:
            for listener in self._on_lost:
                listener(reason)
        self._on_lost.clear()

    def _take(self, text: str) -> None:
        """One message: an answer by its number, or an event by its name.

        Raises:
            ValueError, TypeError: it is neither.
        """
        message = json.loads(text)
        if not isinstance(message, dict):
            raise TypeError("a message that is no object")
        number, method = message.get("id"), message.get("method")
        if isinstance(number, int):
            self._answer(number, message)
        elif isinstance(method, str):
            parameters = message.get("params")
            session = message.get("sessionId")
            for listener in tuple(self._listeners.get((session, method), ())):
                listener(parameters if isinstance(parameters, dict) else {})

    def _answer(self, number: int, message: dict[str, Any]) -> None:
        waiting = self._waiting.get(number)
        if waiting is None or waiting.done():
            return  # its deadline has passed
        error, result = message.get("error"), message.get("result")
        if error is not None:
            words = error.get("message", error) if isinstance(error, dict) else error
            waiting.set_exception(CdpError(str(words)[:_WORDS]))
        else:
            waiting.set_result(result if isinstance(result, dict) else {})

    async def close(self) -> None:
        """End the connection; bounded. Raises only what a listener raised."""
        self._closing = True
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._socket.close()
        self._reader.cancel()
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
        finally:
            await self._http.close()


class CdpSession:
    """One target (a page, mostly) inside a connection; see `attach`."""

    def __init__(self, cdp: Cdp, session: str, target: str) -> None:
        self.cdp = cdp
        self.id = session
        self.target = target

    def on(self, event: str, listener: Listener) -> None:
        """See `Cdp.on`."""
        self.cdp.on(event, listener, session=self.id)

    async def send(
        self,
        method: str,
        parameters: dict[str, Any] | None = None,
        *,
        within: float = COMMAND_SECONDS,
    ) -> dict[str, Any]:
        """See `Cdp.send`."""
        return await self.cdp.send(method, parameters, session=self.id, within=within)

    def abandon(self, reason: str) -> None:
        """See `Cdp.abandon`."""
        self.cdp.abandon(self.id, reason)

    async def detach(self) -> None:
        """Leave the target as it is. Never raises."""
        self.cdp.forget(self.id)
        with contextlib.suppress(CdpError, CdpTimeoutError, CdpLostError):
            await self.cdp.send("Target.detachFromTarget", {"sessionId": self.id})


async def attach(cdp: Cdp, target: str) -> CdpSession:
    """A session on a target.

    Raises:
        CdpError, CdpTimeoutError, CdpLostError: see `Cdp.send`.
    """
    answer = await cdp.send("Target.attachToTarget", {"targetId": target, "flatten": True})
    return CdpSession(cdp, str(answer.get("sessionId", "")), target)


async def fetch_json(port: int, path: str, *, within: float = CONNECT_SECONDS) -> Any:  # noqa: ANN401
    """What DevTools' HTTP side answers on a local port: `/json/version`, `/json/list`.

    Raises:
        CdpLostError: nobody answers, or not with JSON, or with too much of it.
    """
    url = f"http://127.0.0.1:{port}{path}"
    try:
        async with (
            asyncio.timeout(within),
            aiohttp.ClientSession() as http,
            http.get(url) as response,
        ):
            response.raise_for_status()
            # `read(n)` gives what is there; the end is an empty piece.
            data = b""
            while piece := await response.content.read(LARGEST_LIST):
                data += piece
                if len(data) > LARGEST_LIST:
                    raise CdpLostError(f"{path}: more than {LARGEST_LIST} bytes")
            return json.loads(data)
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError, RecursionError) as error:
        raise CdpLostError(f"no DevTools at {_place(url)}: {_reason(error)}") from error


def browser_socket(port: int, version: object) -> str:
    """The address of the browser's websocket on a local port, from its `/json/version`.

    Only the path is taken from the answer: the browser may be a phone's, and says its own address.

    Raises:
        CdpLostError: the answer names no such socket.
    """
    told = version.get("webSocketDebuggerUrl") if isinstance(version, dict) else None
    try:
        path = urlsplit(told).path if isinstance(told, str) else ""
    except ValueError:
        path = ""
    if not path.startswith("/devtools/"):
        raise CdpLostError("the browser does not name its DevTools socket")
    return f"ws://127.0.0.1:{port}{path}"


def _place(url: str) -> str:
    return url.partition("://")[2].partition("/devtools/")[0]


def _reason(error: BaseException | None) -> str:
    return str(error)[:_WORDS] or type(error).__name__
