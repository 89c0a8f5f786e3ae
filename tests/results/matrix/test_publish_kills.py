"""`kill -9` at random moments, while somebody reads: always the old publication or the new one."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from results.matrix.publish import MARKER, publication

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KILLS = 20
FILES = 12
# Every file of a version holds nothing but its number, over and over.
TIMES = 2_000

PUBLISHER = f"""
import itertools, pathlib, sys
from results.matrix.publish import publication
print("ready", flush=True)
for version in itertools.count(int(sys.argv[2])):
    with publication(pathlib.Path(sys.argv[1])) as folder:
        for number in range({FILES}):
            (folder / str(number)).write_text(f"{{version}} " * {TIMES})
"""


@contextlib.contextmanager
def publisher(target: Path, first: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that publishes one version after the other until it is killed in the end."""
    command = [sys.executable, "-c", PUBLISHER, str(target), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


def version_in(path: Path) -> int:
    """The version of a file, which is whole."""
    try:
        words = path.read_text().split(" ")
    except FileNotFoundError:
        # The folder was looked up before the exchange, and the file after. Never twice.
        words = path.read_text().split(" ")
    assert len(words) == TIMES + 1
    assert len(set(words[:-1])) == 1
    return int(words[0])


@pytest.mark.integration
def test_killed_at_any_moment(tmp_path: Path) -> None:
    target = tmp_path / "matrix"
    dice = random.Random(4)  # noqa: S311 - moments, not secrets
    with publication(target) as folder:
        for number in range(FILES):
            (folder / str(number)).write_text("0 " * TIMES)
    newest = 0
    for _ in range(KILLS):
        with publisher(target, newest + 1) as process:
            seen, further = newest, dice.randrange(100)
            # Until it has published at least once, and then so much longer.
            while seen == newest or further:
                assert process.poll() is None
                further -= seen > newest
                found = version_in(target / str(dice.randrange(FILES)))
                assert found >= seen, "never an older one than before"
                seen = found
        versions = {version_in(target / str(number)) for number in range(FILES)}
        assert len(versions) == 1, "never half"
        assert (target / MARKER).is_file()
        newest = versions.pop()
        assert newest >= seen
    with publication(target):
        pass
    assert list(tmp_path.iterdir()) == [target], "what they left was swept"
