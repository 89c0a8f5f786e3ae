"""Runs inside the phone: hands a command of the registry to the daemon, and streams to and fro.

Installed as the phone's `/system/bin/NAME` for every NAME of the registry; uses nothing but the
standard library, imports little, and is started without site-packages: it runs for every command
of a script. The frames are described in `registry.py`.
"""

import os
import signal
import socket
import sys

SOCKET = "/dev/socket/tierlab"


def main() -> int:
    """Run the command that this program is called as; its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    name = os.path.basename(sys.argv[0])  # noqa: PTH119 - pathlib is slow to import
    words = [os.fsencode(word) for word in (name, *sys.argv[1:])]
    # The address may have 107 bytes; a folder's descriptor has a short name.
    folder, _, entry = SOCKET.rpartition("/")
    peer = socket.socket(socket.AF_UNIX)
    try:
        descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        peer.connect(f"/proc/self/fd/{descriptor}/{entry}")
    except OSError as error:
        os.write(2, os.fsencode(f"{name}: the phone does not answer: {error.strerror}\n"))
        return 1
    _send(peer, b"C", b"\0".join(words))
    frames = peer.makefile("rb")
    while len(head := frames.read(5)) == 5:  # noqa: PLR2004
        kind, data = head[:1], frames.read(int.from_bytes(head[1:], "little"))
        if kind == b"R":
            _send(peer, b"I", os.read(0, 65536))
        elif kind == b"X":
            return data[0]
        else:
            _write(2 if kind == b"E" else 1, data)
    os.write(2, os.fsencode(f"{name}: the phone has gone\n"))
    return 255


def _send(peer: socket.socket, kind: bytes, data: bytes) -> None:
    peer.sendall(kind + len(data).to_bytes(4, "little") + data)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


if __name__ == "__main__":
    os._exit(main())
