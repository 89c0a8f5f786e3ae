"""A real browser for tests of pages: offline, and with everything written down that it does."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, Page


@contextmanager
def browser() -> Iterator[Browser]:
    """Chromium: the system's, else Playwright's."""
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=sandbox)
        yield running
        running.close()


@dataclass
class Window:
    """A page with what happened in it that should not have."""

    context: BrowserContext
    page: Page
    wrongs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("dialog", self._dialog)
        self.page.on("console", lambda message: self.wrongs.append(f"console: {message.text}"))
        self.page.on("pageerror", lambda error: self.wrongs.append(f"error: {error}"))
        self.page.on("request", lambda request: self._request(request.url))
        self.page.on("popup", lambda popup: self.wrongs.append(f"popup: {popup.url}"))

    def _dialog(self, dialog: Any) -> None:
        self.wrongs.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, url: str) -> None:
        if not url.startswith(("file://", "data:")):
            self.wrongs.append(f"request: {url}")


@contextmanager
def window(
    running: Browser, *, width: int = 1280, height: int = 900, dark: bool = False, **more: Any
) -> Iterator[Window]:
    """A window of that size in a fresh profile, with the network cut."""
    context = running.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        **more,
    )
    context.set_offline(offline=True)
    context.set_default_timeout(10_000)
    yield Window(context, context.new_page())
    context.close()
