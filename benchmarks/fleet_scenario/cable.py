"""A cable that can be cut: a network namespace of its own, and a pair of interfaces. Needs root."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Cable:
    """A namespace with a cable to this one.

    Args:
        number: 0 to 254; decides on its addresses, 10.213.NUMBER.1 here and .2 there.
    """

    def __init__(self, number: int) -> None:
        self.name = f"tierlab{os.getpid()}"
        self.here, self.there = f"10.213.{number}.1", f"10.213.{number}.2"
        self._link = f"tl{os.getpid()}"

    def plug_in(self) -> None:
        """Lay the cable."""
        other = f"{self._link}b"
        for words in (
            f"netns add {self.name}",
            f"link add {self._link} type veth peer name {other}",
            f"link set {other} netns {self.name}",
            f"addr add {self.here}/30 dev {self._link}",
            f"link set {self._link} up",
            f"-n {self.name} addr add {self.there}/30 dev {other}",
            f"-n {self.name} link set {other} up",
            f"-n {self.name} link set lo up",
        ):
            _ip(words)

    def remove(self) -> None:
        """Take it away; the link goes with its namespace."""
        for words in (f"netns delete {self.name}", f"link delete {self._link}"):
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip(words)

    def cut(self) -> None:
        """Cut it: no packet goes either way, and nobody is told."""
        _ip(f"link set {self._link} down")

    def mend(self) -> None:
        """Plug it in again."""
        _ip(f"link set {self._link} up")

    @property
    def prefix(self) -> list[str]:
        """What a command begins with to run at the other end."""
        return ["ip", "netns", "exec", self.name]


def _ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True, capture_output=True, timeout=20)


@contextlib.contextmanager
def cable(number: int) -> Iterator[Cable]:
    """A cable, while a block runs."""
    one = Cable(number)
    try:
        one.plug_in()
        yield one
    finally:
        one.remove()
