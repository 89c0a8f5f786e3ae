"""What is left when a phone's processes are killed: nothing, or what the next start removes."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.emulation.phone import records
from tests.harness.emulation.phone.real import (
    WITHIN,
    AdbServer,
    PhoneProcess,
    adb_programs,
    alive,
    processes_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="NOT TESTED, virtual phones need Linux"),
]
GROUPS = Path("/sys/fs/cgroup")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TIERLAB_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture(scope="module")
def adb() -> Iterator[AdbServer]:
    programs = adb_programs()
    if not programs:
        pytest.skip("NOT TESTED, there is no adb here")
    server = AdbServer(programs[0])
    yield server
    server.end()


def wait_until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def busy_phone(
    work: Path, adb: AdbServer, *, isolate: bool
) -> tuple[PhoneProcess, set[int], list[Path]]:
    """A phone in whose shell something runs in the background, its processes, its groups."""
    phone = PhoneProcess(work, isolate=isolate)
    adb.said("connect", phone.address)
    wait_until(lambda: adb.state(phone.address) == "device")
    left = "sleep 600 </dev/null >/dev/null 2>&1 & (sleep 600 >/dev/null 2>&1 &) ; echo ok"
    assert adb.said("-s", phone.address, "shell", left) == "ok\n"
    pids = processes_of(phone.process.pid)
    assert len(pids) >= 5
    identity = next(iter(work.glob("tierlab-phone-*"))).name.removeprefix(records.PREFIX)
    groups = [path for path in GROUPS.glob("**/tierlab/*") if path.name.startswith(identity[:20])]
    return phone, pids, groups


@pytest.mark.parametrize("isolate", [True, False], ids=["isolated", "open"])
@pytest.mark.parametrize("victim", ["harness", "supervisor"])
def test_killed_with_9(tmp_path: Path, adb: AdbServer, victim: str, *, isolate: bool) -> None:
    work = tmp_path / "work"
    phone, pids, groups = busy_phone(work, adb, isolate=isolate)
    mounts = Path("/proc/mounts").read_text("utf-8")
    if victim == "harness":
        phone.process.kill()
        # The supervisor sees the channel's end and tidies up.
        wait_until(lambda: not any(alive(pid) for pid in pids))
        wait_until(lambda: not list(work.glob("tierlab-phone-*")))
    else:
        os.kill(phone.ready["pid"], signal.SIGKILL)
        if phone.ready["isolation"] != "no isolation":  # the kernel ends the rest
            wait_until(lambda: not any(alive(pid) for pid in pids - {phone.process.pid}))
        wait_until(lambda: len(records.sweep()) > 0)
        wait_until(lambda: not any(alive(pid) for pid in pids - {phone.process.pid}))
        phone.end()
    assert [path for path in groups if path.exists()] == []
    assert [path.name for path in work.iterdir()] == ["phone.log"]
    assert Path("/proc/mounts").read_text("utf-8") == mounts
    phone.process.stdout.close()  # type: ignore[union-attr]
    phone.process.stdin.close()  # type: ignore[union-attr]
    phone.process.wait(WITHIN)


NOBODY = 65534


def as_nobody(*, namespaces: bool, folder: Path) -> list[str]:
    """The start of a command line that becomes an ordinary user, who may read this Python.

    Where namespaces are forbidden it is in a user namespace whose own limit is none.
    """
    script = (
        'python=$1; copy=$2; home=$3; shift 3; mount --rbind "$python" "$copy" &&'
        ' case "$python" in "$home"/*) mount -t tmpfs -o mode=755 tmpfs "$home" &&'
        ' mkdir -p "$python" && mount --rbind "$copy" "$python";; esac && exec "$@"'
    )
    copy = folder / "python"
    copy.mkdir()
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
    words += [sys.base_prefix, str(copy), pwd.getpwuid(os.getuid()).pw_dir]
    words += ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    words += ["--inh-caps=-all"]
    if not namespaces:
        words += ["unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-c"]
        words += ['echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"', "sh"]
        words += ["setpriv", "--no-new-privs", "--ambient-caps=-all", "--inh-caps=-all"]
        words += ["--bounding-set=-all"]
    return words


@pytest.fixture
def nobodys(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of an ordinary user; not below pytest's own, which no other user may enter."""
    if os.getuid() != 0:
        pytest.skip(
            "NOT TESTED, only root can become another user (the other tests run as this one)"
        )
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        os.chown(made, NOBODY, NOBODY)
        monkeypatch.setenv("TIERLAB_STATE", str(made / "state"))
        monkeypatch.setenv("HOME", str(made))
        yield made


def test_an_ordinary_user_gets_an_isolated_phone(
    nobodys: Path, tmp_path: Path, adb: AdbServer
) -> None:
    phone = PhoneProcess(nobodys / "work", prefix=as_nobody(namespaces=True, folder=nobodys))
    try:
        assert phone.ready["isolation"].startswith("user, PID, mount")
        assert not phone.ready["limited"]
        assert [word.partition(":")[0] for word in phone.ready["missing"]] == ["limits"]
        adb.said("connect", phone.address)
        shell = ("-s", phone.address, "shell")
        assert adb.said(*shell, "cat /proc/1/comm; touch /x || echo no") == "init\nno\n"
        (tmp_path / "file").write_bytes(os.urandom(100_000))
        adb.said("-s", phone.address, "push", str(tmp_path / "file"), "/sdcard/file")
        assert adb.said(*shell, "wc -c < /sdcard/file").strip() == "100000"
    finally:
        phone.end()
    assert [path.name for path in (nobodys / "work").iterdir()] == ["phone.log"]


def test_without_namespaces_what_can_run_runs(
    nobodys: Path, tmp_path: Path, adb: AdbServer
) -> None:
    phone = PhoneProcess(nobodys / "work", prefix=as_nobody(namespaces=False, folder=nobodys))
    try:
        assert phone.ready["isolation"] == "no isolation"
        missing = phone.ready["missing"]
        reasons = [word.partition(":")[0] for word in missing]
        assert reasons == ["limits", "isolation", "isolation", "isolation"]
        assert "unshare: No space left on device" in missing[1]
        adb.said("connect", phone.address)
        shell = ("-s", phone.address, "shell")
        assert adb.said(*shell, "getprop ro.product.device | tr a-z A-Z") == "TINY\n"
        line = "printf %s 'a b' > /data/local/tmp/x && cat /sdcard/../../local/tmp/x"
        assert adb.said(*shell, line) == "a b"
        if "may change" not in missing[-1]:  # this kernel has Landlock
            (nobodys / "mine").touch(mode=0o666)
            assert adb.run(*shell, f"echo x > {nobodys}/mine").returncode
            assert adb.run(*shell, f"rm {nobodys}/mine").returncode
            assert (nobodys / "mine").read_text("utf-8") == ""
            # The harness is a process of the same user.
            assert adb.run(*shell, f"kill -0 {phone.ready['pid']}").returncode
        for dangerous in ("mount", "reboot2", "pkill", "insmod"):
            assert adb.run(*shell, dangerous).returncode == 127
        (tmp_path / "file").write_bytes(os.urandom(100_000))
        adb.said("-s", phone.address, "push", str(tmp_path / "file"), "/sdcard/file")
        adb.said("-s", phone.address, "pull", "/sdcard/file", str(tmp_path / "back"))
        assert (tmp_path / "back").read_bytes() == (tmp_path / "file").read_bytes()
    finally:
        phone.end()
    assert [path.name for path in (nobodys / "work").iterdir()] == ["phone.log"]


def test_another_user_is_refused(adb: AdbServer, tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("NOT TESTED, only root can become another user")
    phone = PhoneProcess(tmp_path / "work")
    try:
        host, port = phone.address.split(":")
        connect = (
            "import socket,sys; s=socket.create_connection((sys.argv[1], int(sys.argv[2])));"
            "s.settimeout(20); print(s.recv(1))"
        )

        def as_nobody(*words: str) -> subprocess.CompletedProcess[bytes]:
            become = ["setpriv", f"--reuid={NOBODY}", "--clear-groups", "/usr/bin/env", "python3"]
            return subprocess.run(
                [*become, "-c", *words],
                capture_output=True,
                check=False,
                timeout=WITHIN,
                env={"PATH": "/usr/bin:/bin"},
            )

        if (done := as_nobody("pass")).returncode:
            pytest.skip(f"NOT TESTED, another user has no Python here: {done.stderr!r}")
        done = as_nobody(connect, host, port)
        assert done.stdout == b"b''\n", done.stderr
        assert adb.said("connect", phone.address).startswith("connected")
    finally:
        phone.end()
