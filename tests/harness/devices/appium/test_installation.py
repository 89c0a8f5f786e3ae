from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

import pytest

from harness.devices.appium.installation import (
    UIAUTOMATOR2,
    find_chromedriver,
    find_installation,
    node_fits,
)
from harness.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path


def program(folder: Path, name: str, says: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing but an SDK's adb, and a place for programs."""
    program(tmp_path / "sdk" / "platform-tools", "adb", "adb")
    monkeypatch.setenv("ANDROID_HOME", str(tmp_path / "sdk"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("TIERLAB_APPIUM", str(tmp_path / "appium"))
    monkeypatch.delenv("TIERLAB_CHROMEDRIVER", raising=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere" / "python"))
    return tmp_path


def install(machine: Path, *packages: str) -> None:
    for name in packages:
        folder = machine / "appium" / "node_modules" / name
        folder.mkdir(parents=True)
        (folder / "package.json").write_text("{}")


def test_everything_that_is_missing_is_told_at_once_with_what_brings_it(machine: Path) -> None:
    with pytest.raises(UserError) as raised:
        asyncio.run(find_installation())
    text = str(raised.value)
    assert "Node.js is missing" in text
    assert f"missing from {machine}/appium/node_modules: appium, {UIAUTOMATOR2}" in text
    assert f"npm ci --ignore-scripts --prefix {machine}/appium" in text
    assert "install Node.js 20.19" in text


def test_a_node_that_appium_refuses_is_named_with_its_version(machine: Path) -> None:
    install(machine, "appium", UIAUTOMATOR2)
    node = program(machine / "bin", "node", "v18.20.4")
    with pytest.raises(UserError, match=f"{node} is v18.20, which Appium does not run on"):
        asyncio.run(find_installation())


def test_an_sdk_of_the_users_is_taken(machine: Path) -> None:
    install(machine, "appium", UIAUTOMATOR2)
    node = program(machine / "bin", "node", "v22.12.0")
    found = asyncio.run(find_installation())
    assert (found.node, found.sdk) == (node, machine / "sdk")
    assert os.access(found.adb, os.X_OK)


@pytest.mark.parametrize(
    ("major", "minor", "fits"),
    [(18, 99, False), (20, 18, False), (20, 19, True), (21, 9, False), (22, 11, False),
     (22, 12, True), (23, 9, False), (24, 0, True), (26, 1, True)],
)  # fmt: skip
def test_versions_of_node(major: int, minor: int, *, fits: bool) -> None:
    assert node_fits(major, minor) is fits


def test_chromedriver_must_be_there_and_of_the_browsers_version(machine: Path) -> None:
    with pytest.raises(UserError, match="apt-get install chromium-driver"):
        asyncio.run(find_chromedriver())
    path = program(machine / "bin", "chromedriver", "ChromeDriver 156.0.8078.108 (730482a)")
    assert asyncio.run(find_chromedriver()) == path
    assert asyncio.run(find_chromedriver(156)) == path
    with pytest.raises(UserError, match="chromedriver is version 156, the browser on the phone is"):
        asyncio.run(find_chromedriver(149))


def test_what_is_no_chromedriver_is_refused(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = program(machine / "bin", "other", "hello")
    monkeypatch.setenv("TIERLAB_CHROMEDRIVER", str(path))
    with pytest.raises(UserError, match="is no chromedriver: it says 'hello"):
        asyncio.run(find_chromedriver())
