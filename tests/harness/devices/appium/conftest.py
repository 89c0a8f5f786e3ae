"""One Appium server for all tests here: it takes seconds to start."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from harness.devices.appium.installation import FAKE, UIAUTOMATOR2, find_installation
from harness.devices.appium.ports import free_ports
from harness.devices.appium.server import AppiumServer, appium_server
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from harness.devices.appium.installation import Installation

T = TypeVar("T")


def require(reason: str) -> None:
    """Skip for that reason; in CI, where everything must be there, fail."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def require_chromedriver() -> Path:
    found = shutil.which("chromedriver")
    if found is None:
        require("chromedriver is missing; install it with: apt-get install chromium-driver")
    assert found is not None
    return Path(found)


class Loop:
    """The event loop that the server belongs to, and all tests that talk to it."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def run(self, work: Coroutine[object, object, T]) -> T:
        return self._runner.run(work)

    def close(self) -> None:
        self._runner.close()


@pytest.fixture(scope="session")
def installation() -> Installation:
    try:
        return asyncio.run(find_installation((UIAUTOMATOR2, FAKE)))
    except UserError as error:
        require(str(error))
        raise


@pytest.fixture(scope="session")
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture(scope="session")
def adb_port() -> int:
    """The port of an adb server of the tests' own; nothing listens there until one starts it."""
    return free_ports(1)[0]


@pytest.fixture(scope="session")
def server(
    loop: Loop,
    installation: Installation,
    adb_port: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[AppiumServer]:
    context = appium_server(
        tmp_path_factory.mktemp("appium"),
        adb_port=adb_port,
        drivers=(UIAUTOMATOR2, FAKE),
        hide=["a-serial-number"],
        installation=installation,
    )
    yield loop.run(context.__aenter__())
    loop.run(context.__aexit__(None, None, None))
