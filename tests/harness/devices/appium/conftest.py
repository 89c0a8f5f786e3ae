"""One Appium server for all tests here: it takes seconds to start."""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import pytest

from harness.devices.android.private import private_server
from harness.devices.appium.installation import FAKE, UIAUTOMATOR2, find_installation
from harness.devices.appium.server import appium_server
from harness.emulation.phone.start import virtual_phone
from harness.errors import UserError
from harness.profiles import load_profiles

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from contextlib import AbstractAsyncContextManager

    from harness.devices.android.adb import Adb, Phone
    from harness.devices.appium.installation import Installation
    from harness.devices.appium.server import AppiumServer
    from harness.emulation.phone.start import VirtualPhone

T = TypeVar("T")


def require(reason: str) -> None:
    """Skip for that reason; in CI, where everything must be there, fail."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def require_chromedriver() -> None:
    if shutil.which("chromedriver") is None:
        require("chromedriver is missing; install it with: apt-get install chromium-driver")


class Loop:
    """The event loop that the server belongs to, and all tests that talk to it."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def run(self, work: Coroutine[object, object, T]) -> T:
        return self._runner.run(work)

    @contextmanager
    def held(self, context: AbstractAsyncContextManager[T]) -> Iterator[T]:
        """Keep an asynchronous context open between tests."""
        entered = self.run(context.__aenter__())
        try:
            yield entered
        finally:
            self.run(context.__aexit__(None, None, None))

    def close(self) -> None:
        self._runner.close()


@dataclass(frozen=True)
class Virtual:
    """A virtual phone, and the same as adb sees it."""

    control: VirtualPhone
    phone: Phone


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
def adb(loop: Loop) -> Iterator[Adb]:
    """An adb server of the tests' own."""
    with loop.held(private_server()) as adb:
        yield adb


@pytest.fixture(scope="session")
def virtual(loop: Loop, adb: Adb, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Virtual]:
    """A virtual Pixel 7 whose apps may use 512 MiB each, attached to that server."""
    work = tmp_path_factory.mktemp("phone")
    with loop.held(
        virtual_phone(load_profiles()["pixel7"], work=work, memory_bytes=512 << 20)
    ) as v:
        loop.run(adb.connect(v.address))
        yield Virtual(v, adb.phone(v.address))


@pytest.fixture(scope="session")
def server(
    loop: Loop,
    installation: Installation,
    adb: Adb,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[AppiumServer]:
    context = appium_server(
        tmp_path_factory.mktemp("appium"),
        adb_port=adb.port,
        drivers=(UIAUTOMATOR2, FAKE),
        hide=["a-serial-number"],
        installation=installation,
    )
    with loop.held(context) as server:
        yield server
