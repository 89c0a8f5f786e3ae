"""The example page as its documentation says: packed by npm, served by Python's own server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import sync_playwright

from tests.harness.probe.node import PACKAGE, ROOT, program
from tests.harness.probe.page import SWIFTSHADER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Page

pytestmark = pytest.mark.integration

EXAMPLE = ROOT / "docs" / "examples" / "preflight"
CALIBRATION = PACKAGE / "calibration.json"
# As they are: Python's server does not compress. Where one does, test_package.py has the bound.
MOST_BYTES = 224 * 1024
MEASURED_WITHIN_MS = 90_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page with the package beside it, made by the commands of docs/probe.md."""
    made = tmp_path_factory.mktemp("site")
    shutil.copy(EXAMPLE / "index.html", made)
    cache = tmp_path_factory.mktemp("npm")
    subprocess.run(
        [program("npm"), "pack", "--ignore-scripts", "--cache", str(cache), str(PACKAGE)],
        cwd=made,
        capture_output=True,
        timeout=120,
        check=True,
    )
    (archive,) = made.glob("tierlab-probe-*.tgz")
    subprocess.run(["tar", "-xzf", archive.name], cwd=made, timeout=60, check=True)
    return made


@contextmanager
def served(folder: Path) -> Iterator[str]:
    command = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        try:
            assert server.stdout is not None
            found = re.search(r"port (\d+)", server.stdout.readline())
            assert found is not None
            yield f"http://127.0.0.1:{found.group(1)}/"
        finally:
            server.terminate()


@contextmanager
def opened(folder: Path, **options: Any) -> Iterator[tuple[Page, str, list[str], dict[str, int]]]:
    """The page, its address, its errors and foreign requests, and the bytes of each file."""
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with served(folder) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=[*sandbox, *SWIFTSHADER]
        )
        page = browser.new_page(**options)
        wrong: list[str] = []
        sizes: dict[str, int] = {}

        def on_console(message: Any) -> None:
            # The calibration is optional; a page without it is told so by the browser too.
            missing = "calibration.json" in message.location["url"] and not CALIBRATION.exists()
            if message.type == "error" and not missing:
                wrong.append(f"{message.text} ({message.location['url']})")

        page.on("console", on_console)
        page.on("pageerror", lambda error: wrong.append(str(error)))

        def on_request(request: Any) -> None:
            if not request.url.startswith((address, "data:", f"blob:{address}")):
                wrong.append(f"foreign: {request.url}")

        page.on("request", on_request)

        def on_response(response: Any) -> None:
            sizes[response.url] = int(response.headers.get("content-length", 0))

        page.on("response", on_response)
        page.goto(address)
        yield page, address, wrong, sizes
        browser.close()


def test_a_page_shows_tier_and_recommendation(folder: Path, tmp_path: Path) -> None:
    with opened(folder) as (page, address, wrong, sizes):
        page.select_option("#model", "gemma-3-270m")
        page.select_option("#tier", "unsupported")
        page.click("#start")
        page.wait_for_selector("#answer", timeout=MEASURED_WITHIN_MS)
        badge = page.inner_text("#badge")
        chosen = page.inner_text("#chosen-title")
        figures = page.inner_text("#figures")
        best = page.inner_text("#best")
        notes = page.inner_text("#notes")
        page.screenshot(path=tmp_path / "preflight.png", full_page=True)
    assert badge in {"High", "Medium", "Low", "Too slow"}
    assert chosen.startswith("gemma-3-270m")
    assert re.search(r"Writing the answer\s+[\d.]+ tokens/s\s+[\d.]+ tokens/s to ", figures)
    assert re.search(r"(High|Medium|Low|Too slow) .+ on \S+/(wasm|webgpu)", best)
    assert "The WebGPU adapter is software" in notes
    assert "alibrated" in notes
    assert wrong == []
    assert {*sizes} >= {f"{address}{name}" for name in ("", "package/kernels.wasm")}
    assert sum(sizes.values()) < MOST_BYTES


def test_none_is_recommended_where_none_is_fast_enough(folder: Path) -> None:
    # On a screen as wide as a small phone's.
    with opened(folder, viewport={"width": 360, "height": 740}) as (page, address, wrong, _):
        page.add_init_script("delete WebAssembly.Memory; WebAssembly.validate = () => false;")
        page.add_init_script(
            "Object.defineProperty(Navigator.prototype, 'gpu', { get: () => null })"
        )
        page.goto(address)
        page.wait_for_selector("#start:enabled")
        page.click("#start")
        page.wait_for_selector("#answer", timeout=MEASURED_WITHIN_MS)
        verdict = page.inner_text("#verdict")
        best = page.inner_text("#best")
        wide = page.evaluate("document.documentElement.scrollWidth")
    assert verdict == "It does not run here"
    assert best.startswith("None reaches “low” here.")
    assert wide <= 360
    assert wrong == []


def test_it_can_be_stopped(folder: Path) -> None:
    with opened(folder) as (page, _, wrong, _):
        page.wait_for_selector("#start:enabled")
        page.click("#start")
        page.click("#stop")
        page.wait_for_function("document.querySelector('#state').textContent === 'Stopped.'")
        assert page.is_enabled("#start")
        assert page.is_hidden("#answer")
    assert wrong == []


def test_without_the_package_the_page_says_so(tmp_path: Path) -> None:
    shutil.copy(EXAMPLE / "index.html", tmp_path)
    with opened(tmp_path) as (page, _, _, _):
        page.wait_for_function("document.querySelector('#state').textContent !== ''")
        assert "npm pack" in page.inner_text("#state")
