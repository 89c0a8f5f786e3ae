from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.emulation.limits.system import System
from harness.emulation.limits.v1 import CgroupV1
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[4]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Records of this test only."""
    directory = tmp_path / "state"
    monkeypatch.setenv("TIERLAB_STATE", str(directory))
    return directory


@pytest.fixture
def v1() -> CgroupV1:
    """The kernel's own v1 groups, writable; a skip that says what is missing otherwise."""
    try:
        limiter = CgroupV1()
    except UserError as error:
        pytest.skip(f"NOT TESTED, cgroup v1 cannot be had here: {error.problem}")
    if os.getuid() != 0:
        pytest.skip("NOT TESTED, cgroup v1 groups need root here")
    return limiter


@pytest.fixture
def python() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `python -c program args...`; whatever still runs at the end is killed and reaped."""
    started: list[subprocess.Popen[str]] = []

    def start(
        program: str, *args: str, prefix: tuple[str, ...] = (), **options: object
    ) -> subprocess.Popen[str]:
        process: subprocess.Popen[str] = subprocess.Popen(
            [*prefix, sys.executable, "-c", program, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            **options,  # type: ignore[call-overload]
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


class FakeTree:
    """A cgroup tree of plain files: a new directory gets the files that the kernel would make."""

    def __init__(self, root: Path) -> None:
        self.proc = root / "proc"
        self.mount = root / "cgroup"
        self.proc.mkdir()
        self.mount.mkdir()
        self.new: dict[str, str] = {}
        self.made: list[Path] = []

    @property
    def system(self) -> System:
        return System(proc=self.proc, make=self.make, remove=self.remove)

    def fill(self, directory: Path, files: dict[str, str]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (directory / name).write_text(text)

    def make(self, directory: Path) -> None:
        directory.mkdir()
        self.made.append(directory)
        self.fill(directory, self.new)

    def remove(self, directory: Path) -> None:
        # As the kernel: only the files go with a group, groups below it are in its way.
        if any(entry.is_dir() for entry in directory.iterdir()):
            raise OSError(39, "Directory not empty", str(directory))
        shutil.rmtree(directory)


@pytest.fixture
def tree(tmp_path: Path) -> FakeTree:
    return FakeTree(tmp_path)
