"""Who is at the other end of a loopback connection: only the phone's own user may be.

The port is open to every user of the machine, and a shell behind it is not for them.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Final

_TABLE: Final = "/proc/self/net/tcp"
_LOCAL_ADDRESS: Final = 1
_STATE: Final = 3
_TIME_WAIT: Final = "06"
_UID: Final = 7


class Peers:
    """The kernel's table of TCP sockets, opened in the network namespace of the listener.

    Opened before isolation, it shows that namespace for ever. Format: Linux
    `Documentation/networking/proc_net_tcp.rst`.
    """

    def __init__(self) -> None:
        try:
            self._table = os.open(_TABLE, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._table = -1

    @property
    def known(self) -> bool:
        """Whether the table can be read here."""
        return self._table >= 0

    def allowed(self, connection: socket.socket) -> bool:
        """Whether the peer belongs to this user or to root; yes where that cannot be known."""
        if not self.known:
            return True
        ends = connection.getpeername(), connection.getsockname()
        return uid_of(self._read(), *ends) in (os.getuid(), 0)

    def _read(self) -> str:
        os.lseek(self._table, 0, os.SEEK_SET)
        with os.fdopen(os.dup(self._table), encoding="ascii") as table:
            return table.read()


def uid_of(table: str, address: tuple[str, int], other: tuple[str, int]) -> int | None:
    """The user whose socket at `address` is connected to `other`; None where no line says it.

    Both ends count: another connection may have had the same port, and what is left of it
    (`TIME_WAIT`) is shown as root's.
    """
    wanted = [_shown(address), _shown(other)]
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) <= _UID or words[_STATE] == _TIME_WAIT:
            continue
        if words[_LOCAL_ADDRESS:_STATE] == wanted:
            return int(words[_UID])
    return None


def _shown(address: tuple[str, int]) -> str:
    host, port = address
    (number,) = struct.unpack("=I", socket.inet_aton(host))
    return f"{number:08X}:{port:04X}"
