"""The local server: the trial page, the engines, and artifacts of many gigabytes.

It binds to loopback on a port that the system picks, and it can be cut off as if the network were
gone. Every response carries the two headers of cross-origin isolation, without which a page has no
threads. Files go out by `sendfile` and byte ranges, so their size costs no memory here.
"""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiohttp import web

from harness.packages import node_modules

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from aiohttp.abc import AbstractStreamWriter

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HARNESS: Final = Path(__file__).parent.parent
LOOPBACK: Final = "127.0.0.1"
# How long a connection that is cut may take to end by itself. (To aiohttp, 0 means for ever.)
CUT_SECONDS: Final = 0.05
# A service worker answers for the paths beside and below its script, unless its script's headers
# say more.
SERVICE_WORKER: Final = "/page/sw.js"

ISOLATION: Final = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}

# The types that browsers insist on; the machine's own table may lack or misname them.
_TYPES: Final = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".mjs": "text/javascript",
    ".onnx": "application/octet-stream",
    ".wasm": "application/wasm",
}


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. `url` has no trailing slash.

    While the block of `cut()` runs, connections are refused, as if the network were gone.
    """

    url: str
    artifacts: dict[str, Path]
    cut: Callable[[], AbstractAsyncContextManager[None]] = nullcontext

    def publish(self, key: str, directory: Path) -> str:
        """Serve a directory below `/artifacts/KEY/`; the path it is served at."""
        self.artifacts[key] = directory
        return f"/artifacts/{key}/"


def content_type(path: Path) -> str:
    """The type a file is served as."""
    return _TYPES.get(path.suffix, "application/octet-stream")


def _inside(root: Path, tail: str) -> Path:
    """The file below `root` that a request names.

    Raises:
        HTTPNotFound: there is none, or it lies outside `root`.
    """
    try:
        path = (root / tail).resolve()
        if path.is_relative_to(root.resolve()) and path.is_file():
            return path
    # A name that no file system takes; before Python 3.13, a circle of links is a RuntimeError.
    except (OSError, ValueError, RuntimeError):
        pass
    raise web.HTTPNotFound


class _FileAsItIs(web.FileResponse):
    """A file, byte for byte.

    aiohttp sends `model.onnx.gz` in its place where there is one beside it and the browser takes
    gzip: perhaps other bytes, and certainly not the ones whose number was published.
    """

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Prepare for a request that names no encodings."""
        headers = request.headers.copy()
        headers.popall("Accept-Encoding", None)
        return await super().prepare(request.clone(headers=headers))


def _headers(*, isolated: bool) -> Mapping[str, str]:
    return {"Cache-Control": "no-store", **(ISOLATION if isolated else {})}


def make_app(
    artifacts: dict[str, Path], *, isolated: bool = True, extra: Mapping[str, Path] | None = None
) -> web.Application:
    """The application.

    Args:
        artifacts: directories served below `/artifacts/KEY/`; may grow while it runs.
        isolated: whether to send the headers of cross-origin isolation.
        extra: further directories by the path they are served below.
    """
    trees = {
        "/page/": HARNESS / "web" / "static",
        "/adapters/": HARNESS / "runtimes",
        "/probe/": HARNESS / "probe",
        "/npm/": node_modules(),
        **(extra or {}),
    }

    async def serve(request: web.Request) -> web.StreamResponse:
        root, tail = _find(request.path)
        path = _inside(root, tail)
        headers = {"Content-Type": content_type(path)}
        if request.path == SERVICE_WORKER:
            headers["Service-Worker-Allowed"] = "/"
        return _FileAsItIs(path, chunk_size=1 << 20, headers=headers)

    def _find(path: str) -> tuple[Path, str]:
        if path.startswith("/artifacts/"):
            key, _, tail = path.removeprefix("/artifacts/").partition("/")
            if key in artifacts:
                return artifacts[key], tail
        for prefix, root in trees.items():
            if path.startswith(prefix):
                return root, path.removeprefix(prefix)
        raise web.HTTPNotFound

    async def favicon(_: web.Request) -> web.StreamResponse:
        return web.Response(status=204)

    async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(_headers(isolated=isolated))

    app = web.Application()
    app.router.add_get("/favicon.ico", favicon)
    app.router.add_get("/{path:.*}", serve)
    app.on_response_prepare.append(add_headers)
    return app


@asynccontextmanager
async def serve(
    *, isolated: bool = True, extra: Mapping[str, Path] | None = None
) -> AsyncIterator[Server]:
    """Run the server on loopback until the block ends."""
    artifacts: dict[str, Path] = {}
    app = make_app(artifacts, isolated=isolated, extra=extra)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    line = _Line(runner)
    try:
        await line.join()
        yield Server(url=f"http://{LOOPBACK}:{line.port}", artifacts=artifacts, cut=line.cut)
    finally:
        await runner.cleanup()
        line.close()


class _Line:
    """The one port of a server, which stays its own while nobody listens on it."""

    def __init__(self, runner: web.AppRunner) -> None:
        self._runner = runner
        self._socket = _bound(0)
        self.port: int = self._socket.getsockname()[1]
        self._site: web.SockSite | None = None

    async def join(self) -> None:
        """Listen."""
        self._site = web.SockSite(self._runner, self._socket)
        await self._site.start()

    @asynccontextmanager
    async def cut(self) -> AsyncIterator[None]:
        """Refuse connections, and end those there are, until the block ends."""
        if self._site is None or self._runner.server is None:
            raise RuntimeError("the line is not up")
        await self._site.stop()
        # A socket that is bound and does not listen keeps the port, and connections are refused.
        self._socket = _bound(self.port)
        # Browsers keep connections open, on which they would go on asking.
        await self._runner.server.shutdown(CUT_SECONDS)
        try:
            yield
        finally:
            await self.join()

    def close(self) -> None:
        """Give back the port."""
        self._socket.close()


def _bound(port: int) -> socket.socket:
    """A socket on a port of loopback; 0 is any that is free."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Connections that just ended still hold the port otherwise.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((LOOPBACK, port))
    except OSError:
        made.close()
        raise
    return made
