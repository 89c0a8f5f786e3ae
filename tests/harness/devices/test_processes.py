from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.devices.processes import (
    ProcessSample,
    family,
    handles,
    kill_all,
    largest_by_kind,
    process_kind,
    sample,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

CHROMIUM = "/usr/lib/chromium/chromium"
FOREVER = "import sys; print(flush=True); sys.stdin.read()"


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ([CHROMIUM, "--headless", "--no-sandbox"], "browser"),
        ([CHROMIUM, "--type=renderer", "--lang=en-US"], "renderer"),
        # Chromium rewrites its title: one string, not a list of arguments.
        ([f"{CHROMIUM} --type=renderer --crashpad-handler-pid=0"], "renderer"),
        ([CHROMIUM, "--type=gpu-process"], "gpu"),
        ([CHROMIUM, "--type=zygote", "--no-zygote-sandbox"], "zygote"),
        ([CHROMIUM, "--type=utility", "--utility-sub-type=network.mojom.Network"], "utility"),
        ([CHROMIUM, "--type=broker"], "utility"),
        (["/usr/lib/chromium/chrome_crashpad_handler", "--monitor-self"], "utility"),
        (["/opt/firefox/firefox", "-headless", "-juggler-pipe"], "browser"),
        (["/opt/firefox/firefox", "-contentproc", "-childID", "1", "123", "tab"], "renderer"),
        (["/opt/firefox/firefox", "-contentproc", "-parentBuildID", "1", "gpu"], "gpu"),
        (["/opt/firefox/firefox", "-contentproc", "rdd"], "utility"),
        (["/opt/webkit/WebKitWebProcess", "7", "23"], "renderer"),
        (["/opt/webkit/WebKitGPUProcess", "7"], "gpu"),
        (["/opt/webkit/WebKitNetworkProcess", "7"], "utility"),
        (["/opt/webkit/MiniBrowser"], "browser"),
        ([], "browser"),
    ],
)
def test_the_kind_of_a_process(command: list[str], kind: str) -> None:
    assert process_kind(command) == kind


@given(st.lists(st.text()))
def test_any_command_has_a_kind(command: list[str]) -> None:
    assert process_kind(command) in {"browser", "renderer", "gpu", "zygote", "utility"}


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-c", FOREVER, "--type=renderer"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_a_living_process_is_sampled(child: subprocess.Popen[bytes]) -> None:
    (item,) = sample([child.pid])
    assert (item.pid, item.kind) == (child.pid, "renderer")
    assert item.peak_bytes >= item.resident_bytes > 1 << 20
    assert item.cpu_seconds >= 0


def test_the_dead_and_the_nameless_are_left_out(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet reaped
    assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
    assert sample([child.pid]) == []
    child.wait()
    assert sample([child.pid]) == []


def test_a_process_without_a_command_is_about_to_be_dead(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed process that has given back its memory is no zombie yet, and has no command."""
    monkeypatch.setattr(psutil.Process, "cmdline", lambda _: [])
    assert sample([child.pid]) == []


def test_a_family_is_a_process_with_its_descendants(child: subprocess.Popen[bytes]) -> None:
    assert {os.getpid(), child.pid} <= family(os.getpid())
    assert family(child.pid) == {child.pid}
    child.kill()
    child.wait()
    assert family(child.pid) == set()


def test_what_is_left_is_killed(child: subprocess.Popen[bytes]) -> None:
    found = handles([child.pid])
    kill_all(found, within=10)
    assert child.poll() is not None
    assert handles([child.pid]) == []
    kill_all(found, within=10)  # dead already: no error


def test_the_largest_of_each_kind() -> None:
    samples = [
        ProcessSample(1, "renderer", resident_bytes=5, peak_bytes=9, cpu_seconds=0),
        ProcessSample(2, "renderer", resident_bytes=7, peak_bytes=8, cpu_seconds=0),
        ProcessSample(3, "gpu", resident_bytes=1, peak_bytes=2, cpu_seconds=0),
    ]
    assert largest_by_kind(samples) == {"renderer": 7, "gpu": 1}
    assert largest_by_kind(samples, peak=True) == {"renderer": 9, "gpu": 2}
    assert largest_by_kind([]) == {}
