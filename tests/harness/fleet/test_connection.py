"""The kernel is told when a silent connection is over. `test_lab` cuts a cable."""

from __future__ import annotations

import socket
import sys

import pytest

from harness.fleet.connection import cut_when_silent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the options are Linux's")


@pytest.mark.parametrize("seconds", [1, 5, 45, 600])
def test_it_is_over_in_time(seconds: float) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
        cut_when_silent(connection, seconds)

        def option(name: str) -> int:
            return connection.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))

        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        whole = max(4, seconds)
        assert option("TCP_USER_TIMEOUT") == whole * 1000
        asked = option("TCP_KEEPCNT") * option("TCP_KEEPINTVL")
        assert whole / 2 < option("TCP_KEEPIDLE") + asked <= max(5, whole)


def test_what_is_no_tcp_connection_is_refused() -> None:
    one, other = socket.socketpair()
    with one, other, pytest.raises(OSError, match="not supported"):
        cut_when_silent(one, 10)
