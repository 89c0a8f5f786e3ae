from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from harness.devices.base import HostFacts
from harness.devices.browsers import (
    InstalledBrowser,
    browser_at,
    candidates,
    find_browser,
    playwright_browsers_directory,
    read_version,
)
from harness.profiles import BrowserSection, Profile
from harness.trial import version_gate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Make = Callable[..., Path]

CHROMIUM = BrowserSection(channels=("chromium",))


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Puts executables on the PATH; no other browser can be seen."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "playwright"))
    monkeypatch.delenv("TIERLAB_BROWSER", raising=False)
    monkeypatch.setattr(
        "harness.devices.browsers._PLACES",
        dict.fromkeys(["chrome", "chromium", "msedge", "firefox", "webkit"], ()),
    )

    def executable(name: str, says: str = "Chromium 156.0.7654.32 built on Debian") -> Path:
        path = tmp_path / name if "/" in name else tmp_path / "bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{says if says.startswith('exit') else f'echo {says!r}'}\n")
        path.chmod(0o755)
        return path

    return executable


def found(section: BrowserSection = CHROMIUM) -> InstalledBrowser:
    browser = find_browser(section)
    assert isinstance(browser, InstalledBrowser), browser
    return browser


def test_the_browser_of_the_path(make: Make) -> None:
    path = make("chromium")
    assert found() == InstalledBrowser("chromium", path, "156.0.7654.32")
    assert found().major == 156


def test_channels_are_tried_in_the_order_of_the_profile(make: Make) -> None:
    make("chromium")
    edge = make("microsoft-edge-stable", "Microsoft Edge 140.0.1.2")
    chosen = found(BrowserSection(channels=("chrome", "msedge", "chromium")))
    assert (chosen.channel, chosen.path) == ("msedge", edge)


def test_playwrights_own_browser_comes_last_and_the_newest_first(make: Make) -> None:
    make("playwright/chromium-1100/chrome-linux/chrome")
    newest = make("playwright/chromium-1200/chrome-linux64/chrome")
    assert found().path == newest
    installed = make("chromium-browser")
    assert found().path == installed


def test_a_file_that_is_not_executable_is_passed_over(make: Make) -> None:
    make("playwright/chromium-1200/chrome-linux/chrome").chmod(0o644)
    if os.geteuid() == 0:
        assert not os.access(next(candidates("chromium")), os.X_OK)
    assert isinstance(find_browser(CHROMIUM), str)


@pytest.mark.parametrize("channel", ["firefox", "webkit"])
def test_a_distributions_firefox_cannot_be_driven(make: Make, channel: str) -> None:
    make(channel)
    section = BrowserSection.model_validate({"engine": channel, "channels": [channel]})
    assert find_browser(section) == (
        f"no {channel} on this machine: `playwright install {channel}`"
        + (" (a distribution's Firefox cannot be driven)" if channel == "firefox" else "")
    )


@pytest.mark.usefixtures("make")
def test_what_is_missing_is_named_with_the_way_to_get_it() -> None:
    section = BrowserSection(channels=("chrome", "msedge"))
    answer = find_browser(section)
    assert isinstance(answer, str)
    assert answer.startswith("no chrome or msedge on this machine: ")
    assert "playwright install chromium" in answer


def test_the_override_wins(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    make("chromium")
    other = make("elsewhere/my-browser", "MyBrowser 130.1")
    monkeypatch.setenv("TIERLAB_BROWSER", str(other))
    assert found() == InstalledBrowser("chromium", other, "130.1")


def test_the_override_is_for_chromium_only(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERLAB_BROWSER", str(make("chromium")))
    firefox = make("playwright/firefox-1500/firefox/firefox", "Mozilla Firefox 145.0")
    assert found(BrowserSection(engine="firefox", channels=("firefox",))).path == firefox


def test_an_override_that_is_no_program_is_an_error(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("chromium")
    monkeypatch.setenv("TIERLAB_BROWSER", "no/such/browser")
    assert find_browser(CHROMIUM) == (
        "TIERLAB_BROWSER names no/such/browser, which is not an executable file"
    )


@pytest.mark.parametrize(
    ("says", "version", "major"),
    [
        ("Google Chrome 140.0.7339.80 beta", "140.0.7339.80", 140),
        ("Mozilla Firefox 145.0", "145.0", 145),
        ("Chromium", "", None),
        ("exit 1", "", None),
    ],
)
def test_versions(make: Make, says: str, version: str, major: int | None) -> None:
    path = make("chromium", says)
    assert read_version(path) == version
    assert found().major == major


def test_a_program_that_cannot_run_has_no_version(make: Make) -> None:
    path = make("chromium")
    path.write_text("#!/no/such/interpreter\n")
    assert read_version(path) == ""


@pytest.mark.parametrize("end", ["kill -9 $$", "exit 137"], ids=["itself", "below a shell"])
def test_one_that_was_killed_is_asked_again(make: Make, tmp_path: Path, end: str) -> None:
    path, once = make("chromium"), tmp_path / "once"
    path.write_text(
        f"#!/bin/sh\nif [ ! -e {once} ]; then : >{once}; {end}; fi\necho Chromium 156.0.7654.32\n"
    )
    assert read_version(path) == "156.0.7654.32"


def test_that_it_was_always_killed_is_not_kept(make: Make) -> None:
    path = make("chromium")
    path.write_text("#!/bin/sh\nkill -9 $$\n")
    assert read_version(path) == ""
    path.write_text("#!/bin/sh\necho Chromium 156.0.7654.32\n")
    assert read_version(path) == "156.0.7654.32"


def test_where_playwright_keeps_its_browsers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLAYWRIGHT_BROWSERS_PATH", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert playwright_browsers_directory().parts[-2:] == (".cache", "ms-playwright")
    monkeypatch.setattr("sys.platform", "darwin")
    assert playwright_browsers_directory().parts[-2:] == ("Caches", "ms-playwright")


@pytest.mark.parametrize(
    ("says", "problem"),
    [
        ("Google Chrome 109.0.5414.119", "chromium 109.0.5414.119 is older than version 110"),
        ("Google Chrome 110.0.5481.77", None),
        ("Chromium", "chromium does not say its version"),
    ],
)
def test_the_version_gate_of_what_was_found(make: Make, says: str, problem: str | None) -> None:
    make("chromium", says)
    browser = found()
    profile = Profile(id="d", name="d", kind="desktop", browser=CHROMIUM)
    facts = HostFacts(
        host="h",
        operating_system="o",
        cpu="c",
        cores=1,
        memory_bytes=1,
        browser=browser.channel,
        browser_version=browser.version,
    )
    assert version_gate(profile, facts) == problem


def test_a_browser_that_is_named_by_its_path(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the profile and the environment would choose."""
    make("chromium")
    monkeypatch.setenv("TIERLAB_BROWSER", str(make("other")))
    beta = make("opt/beta", "Chromium 157.0.1.2")
    assert browser_at(beta, CHROMIUM) == InstalledBrowser("chromium", beta, "157.0.1.2")
    firefox = BrowserSection(engine="firefox", channels=("firefox",))
    named = browser_at(beta, firefox)
    assert isinstance(named, InstalledBrowser)
    assert named.channel == "firefox"


def test_a_path_without_a_browser(tmp_path: Path) -> None:
    assert browser_at(tmp_path / "none", CHROMIUM) == (
        f"{tmp_path / 'none'} is not an executable file"
    )
