"""The local server: the trial page, the engines, and artifacts of many gigabytes.

It binds to loopback on a port that the system picks. Every response carries the two headers of
cross-origin isolation, without which a page has no threads. Files go out by `sendfile` and byte
ranges, so their size costs no memory here.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from aiohttp.abc import AbstractStreamWriter

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HARNESS: Final = Path(__file__).parent.parent
NODE_MODULES: Final = HARNESS.parent / "node_modules"

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
    """A running server. `url` has no trailing slash."""

    url: str
    artifacts: dict[str, Path]

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
        "/npm/": NODE_MODULES,
        **(extra or {}),
    }

    async def serve(request: web.Request) -> web.StreamResponse:
        root, tail = _find(request.path)
        path = _inside(root, tail)
        return _FileAsItIs(path, chunk_size=1 << 20, headers={"Content-Type": content_type(path)})

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
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield Server(url=f"http://{host}:{port}", artifacts=artifacts)
    finally:
        await runner.cleanup()
