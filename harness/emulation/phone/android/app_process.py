"""The process of a simulated app: it holds as many bytes as each line of its input says.

A program of its own, and of the standard library only, so that it starts at once and is small.
Answers each line when the memory is there; ends with its input.
"""

from __future__ import annotations

import mmap
import sys

_STEP = 16 << 20


def main() -> None:
    """Read sizes until the input ends."""
    held: list[mmap.mmap] = []
    page = b"\1" + bytes(mmap.PAGESIZE - 1)
    for line in sys.stdin:
        wanted = int(line)
        while len(held) * _STEP > wanted:
            held.pop().close()
        while (len(held) + 1) * _STEP <= wanted:
            block = mmap.mmap(-1, _STEP)
            block.write(page * (_STEP // mmap.PAGESIZE))
            held.append(block)
        sys.stdout.write("ok\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
