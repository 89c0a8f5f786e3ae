"""What driving a phone through the harness costs beside the adb program and adbutils' own client.

The same server and the same virtual phone for all three, in rounds, in alternating order. A push
through the harness asks for free storage before, and compares size and SHA-256 after; the others
only send. `--slow` narrows the phone's transport to so many bytes a second, as a cable does.

    python benchmarks/adb.py --megabytes 100 --rounds 9
    python benchmarks/adb.py --megabytes 20 --rounds 5 --slow 30e6
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

import adbutils

from benchmarks.markdown import markdown_table, ratio_of, significant
from harness.devices.android.adb import Adb, TransportLostError
from harness.devices.android.discovery import find_phone
from harness.devices.android.server import adb_binary
from harness.devices.android.transfer import send
from harness.emulation.phone.start import virtual_phone
from harness.profiles import load_profiles

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from harness.devices.android.adb import Phone

    Way = Callable[[], Awaitable[object]]

REMOTE: Final = "/data/local/tmp/benchmark"
HEADS: Final = (
    "what",
    "harness ms",
    "adb program ms",
    "adbutils ms",
    "harness / program",
    "harness / adbutils",
    "lowest to highest, harness ms",
    "n",
)


async def program(binary: str, port: int, serial: str, *words: str) -> None:
    """One call of the adb program."""
    process = await asyncio.create_subprocess_exec(
        binary,
        "-P",
        str(port),
        "-s",
        serial,
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    if process.returncode:
        raise SystemExit(f"adb {' '.join(words)} failed: {said.decode(errors='replace')}")


async def sent(phone: Phone, local: Path) -> None:
    """A push without what the harness does before and after."""
    with local.open("rb") as file:
        await send(phone, file, local.stat().st_size, REMOTE, lambda _sent, _of: None)  # noqa: ASYNC240


async def timed(way: Way) -> float:
    """Milliseconds of one call."""
    began = time.perf_counter()
    await way()
    return 1000 * (time.perf_counter() - began)


async def measure(ways: Sequence[Way], rounds: int) -> list[list[float]]:
    """Milliseconds of each way in each round; the order changes from round to round."""
    for way in ways:
        await way()  # warm
    taken: list[list[float]] = [[] for _ in ways]
    for number in range(rounds):
        turn = range(len(ways))
        for index in turn if number % 2 else reversed(turn):
            taken[index].append(await timed(ways[index]))
    return taken


def row(name: str, taken: Sequence[Sequence[float]]) -> tuple[str, ...]:
    """The cells of one operation, in the order of `HEADS`."""
    ours, *others = taken
    ratios = [ratio_of(list(zip(ours, other, strict=True))) for other in others]
    return (
        name,
        *(significant(median(values)) for values in taken),
        *("-" if ratio is None else f"{ratio:.2f}" for ratio in ratios),
        f"{significant(min(ours))} to {significant(max(ours))}",
        str(len(ours)),
    )


async def compare(phone: Phone, folder: Path, megabytes: int, rounds: int) -> None:
    """Measure everything and print the table."""
    port, serial = phone.adb.port, phone.serial
    binary = await adb_binary()
    client = adbutils.AdbClient(port=port).device(serial)
    local, back = folder / "local", str(folder / "back")
    local.write_bytes(os.urandom(megabytes * 1_000_000))

    def by_program(*words: str) -> Way:
        return lambda: program(binary, port, serial, *words)

    def by_client(call: Callable[..., object], *arguments: object) -> Way:
        return lambda: asyncio.to_thread(call, *arguments)

    operations: dict[str, tuple[Way, Way, Way]] = {
        "shell, a builtin": (
            lambda: phone.run("true"),
            by_program("shell", "true"),
            by_client(client.shell, "true"),
        ),
        "shell, a command of the phone": (
            lambda: phone.run(["getprop", "ro.product.model"]),
            by_program("shell", "getprop", "ro.product.model"),
            by_client(client.shell, ["getprop", "ro.product.model"]),
        ),
        f"push {megabytes} MB, only sent": (
            lambda: sent(phone, local),
            by_program("push", str(local), REMOTE),
            by_client(client.sync.push, str(local), REMOTE),
        ),
        f"push {megabytes} MB, checked": (
            lambda: phone.push(local, REMOTE),
            by_program("push", str(local), REMOTE),
            by_client(client.sync.push, str(local), REMOTE),
        ),
        f"pull {megabytes} MB": (
            lambda: phone.pull(REMOTE, folder / "back"),
            by_program("pull", REMOTE, back),
            by_client(client.sync.pull, REMOTE, back),
        ),
    }
    rows = []
    for name, ways in operations.items():
        taken = await measure(ways, rounds)
        rows.append(row(name, taken))
        print(" | ".join(rows[-1]), flush=True)
    print()
    print(markdown_table(HEADS, rows))


async def run(profile: str, megabytes: int, rounds: int, slow: float | None) -> None:
    """Start a server and a virtual phone of our own, and compare."""
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        adb = Adb(port=chosen.getsockname()[1])
    chosen_profile = load_profiles()[profile]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        try:
            async with virtual_phone(chosen_profile, work=folder / "phone") as virtual:
                found = await find_phone(adb, chosen_profile, serial=virtual.address)
                if slow:
                    await virtual.control("slow", bytes_per_second=slow, seconds=3600)
                await compare(adb.phone(found.serial), folder, megabytes, rounds)
        finally:
            with contextlib.suppress(TransportLostError):
                async with adb.stream() as stream:
                    await stream.request("host:kill")


def main() -> None:
    """Parse the options and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="pixel7", help="of the virtual phone")
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--slow", type=float, help="bytes a second of the phone's transport")
    options = parser.parse_args()
    asyncio.run(run(options.profile, options.megabytes, options.rounds, options.slow))


if __name__ == "__main__":
    main()
