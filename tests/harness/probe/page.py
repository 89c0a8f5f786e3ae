"""A static server for the probe's package and a Chromium that opens it."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import Page, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).resolve().parents[3] / "harness" / "probe"
SWIFTSHADER = (
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
    "--enable-features=Vulkan",
)
EMPTY_PAGE = b"<!doctype html><title>probe</title><link rel=icon href=data:,>"


class _Handler(http.server.SimpleHTTPRequestHandler):
    isolated = False
    extensions_map = {  # noqa: RUF012 - the base class's own attribute
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".wasm": "application/wasm",
    }

    def do_GET(self) -> None:
        if self.path != "/":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(EMPTY_PAGE)))
        self.end_headers()
        self.wfile.write(EMPTY_PAGE)

    def end_headers(self) -> None:
        if self.isolated:
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def served(*, isolated: bool = False) -> Iterator[str]:
    """The address of a server of the package, with COOP and COEP when `isolated`."""
    kind = type("Handler", (_Handler,), {"isolated": isolated})
    handler = functools.partial(kind, directory=str(PACKAGE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


@contextmanager
def opened(*flags: str, isolated: bool = False) -> Iterator[Page]:
    """A Chromium page at that server: the system's browser, else Playwright's."""
    sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()
    with served(isolated=isolated) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=[*sandbox, *flags]
        )
        page = browser.new_page()
        page.goto(address)
        yield page
        browser.close()
