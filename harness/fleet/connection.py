"""Connections that end when the other side is silent, and not a quarter of an hour later.

A cable that is pulled, or a host without power, closes no connection. By default Linux notices
after two hours where nothing is sent, and after some 15 minutes where something is (tcp(7):
tcp_keepalive_time, tcp_retries2); Buildbot's own keepalives send, and wait for nothing.
"""

from __future__ import annotations

import socket
import sys

# How often a silent other side is asked before the time is over.
_PROBES = 4


def cut_when_silent(connection: socket.socket, seconds: float) -> None:
    """Have the kernel close a TCP connection whose other side does not answer for so long.

    It asks after a third of the time without traffic, and then some times more; data that is on
    its way must be acknowledged within the time (RFC 5482). Elsewhere than on Linux the names of
    the options differ, and what there is not is left alone.

    Raises:
        OSError: it is no TCP connection.
    """
    whole = max(_PROBES, round(seconds))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    idle = max(1, whole // 3)
    options = {
        "TCP_KEEPALIVE" if sys.platform == "darwin" else "TCP_KEEPIDLE": idle,
        "TCP_KEEPINTVL": max(1, (whole - idle) // _PROBES),
        "TCP_KEEPCNT": _PROBES,
        "TCP_USER_TIMEOUT": whole * 1000,
    }
    for name, value in options.items():
        number = getattr(socket, name, None)
        if number is not None:
            connection.setsockopt(socket.IPPROTO_TCP, number, value)
