"""Artifacts found, made, waited for, removed and cleared up after."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from harness.errors import UserError
from harness.models import MODELS, tiny
from harness.weights.artifact import MANIFEST
from harness.weights.cache import ArtifactCache, default_root
from harness.weights.onnx.recipe import OnnxRecipe
from harness.weights.writing import PARTIAL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TINY = tiny(MODELS["gemma-2b"])
KEY = OnnxRecipe().key(TINY)

# Says "writing" once data is on the disk, then waits for a line, then goes on.
WRITER = """
import sys
from pathlib import Path
from harness.models import MODELS, tiny
from harness.weights.cache import ArtifactCache
from harness.weights.onnx.recipe import OnnxRecipe

def progress(done, total):
    print("writing", flush=True)
    sys.stdin.readline()

def waiting(key):
    print("waiting", flush=True)

cache = ArtifactCache(Path(sys.argv[1]))
artifact = cache.ensure(tiny(MODELS["gemma-2b"]), OnnxRecipe(), progress, waiting=waiting)
print(artifact.key, flush=True)
"""


@contextmanager
def writer(root: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_made_once_and_found_again(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path)
    calls: list[int] = []
    made = cache.ensure(TINY, OnnxRecipe(), lambda done, _: calls.append(done))
    assert calls
    assert made.directory == tmp_path / KEY
    calls.clear()
    assert cache.ensure(TINY, OnnxRecipe(), lambda done, _: calls.append(done)) == made
    assert not calls
    assert cache.list() == (made,)


@pytest.mark.parametrize("harm", ["missing", "short", "manifest", "other key"])
def test_a_damaged_entry_is_made_anew(tmp_path: Path, harm: str) -> None:
    cache = ArtifactCache(tmp_path)
    made = cache.ensure(TINY, OnnxRecipe())
    data = made.directory / made.files[1].name
    content = data.read_bytes()
    if harm == "missing":
        data.unlink()
    elif harm == "short":
        os.truncate(data, len(content) - 1)
    elif harm == "manifest":
        (made.directory / MANIFEST).write_text('{"key":')
    else:
        manifest = (made.directory / MANIFEST).read_text()
        (made.directory / MANIFEST).write_text(manifest.replace(KEY, "other"))
    assert cache.list() == ()
    assert cache.find(KEY) is None
    assert cache.ensure(TINY, OnnxRecipe()) == made
    assert data.read_bytes() == content
    assert [path.name for path in tmp_path.glob("*") if path.name != ".locks"] == [KEY]


def test_removing(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path)
    made = cache.ensure(TINY, OnnxRecipe())
    other = cache.ensure(TINY, OnnxRecipe(seed=2))
    assert cache.remove(made.key) >= made.total_bytes
    assert cache.list() == (other,)
    with pytest.raises(UserError, match=f"no artifact '{KEY}'.*\n.*did you mean {other.key}"):
        cache.remove(made.key)


@pytest.mark.parametrize("name", ["..", ".", ".locks", "", "documents"])
def test_nothing_but_artifacts_can_be_removed(tmp_path: Path, name: str) -> None:
    kept = tmp_path / "documents" / "letter"
    kept.parent.mkdir()
    kept.touch()
    cache = ArtifactCache(tmp_path)
    cache.ensure(TINY, OnnxRecipe())
    with pytest.raises(UserError, match="no artifact"):
        cache.remove(name)
    assert cache.sweep() == (0, 0)
    assert kept.exists()


def test_an_empty_cache_has_nothing(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path / "not there")
    assert cache.list() == ()
    assert cache.sweep() == (0, 0)
    assert not cache.root.exists()


def test_a_killed_writer_leaves_nothing_but_what_sweep_clears(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path)
    with writer(tmp_path) as process:
        assert line(process) == "writing"
        assert cache.list() == ()
        assert cache.sweep() == (0, 0)  # it is alive
        assert len(list(tmp_path.glob(f"{PARTIAL}*"))) == 1
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
    assert cache.list() == ()
    count, size = cache.sweep()
    assert count == 1
    assert size > 100_000
    assert not list(tmp_path.glob(f"{PARTIAL}*"))


def test_the_next_writer_clears_up_too(tmp_path: Path) -> None:
    with writer(tmp_path) as process:
        assert line(process) == "writing"
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
    made = ArtifactCache(tmp_path).ensure(TINY, OnnxRecipe())
    assert made.damage() is None
    assert not list(tmp_path.glob(f"{PARTIAL}*"))


def test_a_second_process_waits_and_finds_it(tmp_path: Path) -> None:
    with writer(tmp_path) as first, writer(tmp_path) as second:
        lines = {first: "", second: ""}
        # Whichever holds the lock writes, the other waits; neither goes on by itself.
        lines[first], lines[second] = line(first), line(second)
        assert sorted(lines.values()) == ["waiting", "writing"]
        writing, waiting = sorted(lines, key=lambda process: lines[process], reverse=True)
        go_on(writing)
        assert line(writing) == KEY
        assert line(waiting) == KEY  # and not "writing"
    assert len(ArtifactCache(tmp_path).list()) == 1


def test_waiting_has_an_end(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path)
    told: list[str] = []
    with writer(tmp_path) as process:
        assert line(process) == "writing"
        with pytest.raises(UserError, match=f"another process has been busy with {KEY}"):
            cache.ensure(TINY, OnnxRecipe(), waiting=told.append, wait_seconds=0)
    assert told == [KEY]


def test_a_root_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot use the artifact cache"):
        ArtifactCache(tmp_path / "file").ensure(TINY, OnnxRecipe())


def test_the_default_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TIERLAB_CACHE", str(tmp_path))
    assert default_root() == ArtifactCache().root == tmp_path
    monkeypatch.delenv("TIERLAB_CACHE")
    assert default_root().parts[-2:] == ("tierlab", "artifacts")
