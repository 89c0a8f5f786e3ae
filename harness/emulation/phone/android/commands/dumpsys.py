"""`dumpsys` (frameworks/native/cmds/dumpsys/dumpsys.cpp)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from harness.emulation.phone.android.commands.cmd import battery as battery_shell
from harness.emulation.phone.android.registry import Subcommands, count_unknown
from harness.emulation.phone.android.services import activity, package, power, window

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from harness.emulation.phone.android.phone import Phone
    from harness.emulation.phone.command import Command, CommandIO

#: Service -> its dump; `None` from it: the service does not know these words.
SERVICES: Final[Mapping[str, Callable[[Phone, Sequence[str]], str | None]]] = {
    "SurfaceFlinger": window.surface_flinger,
    "account": package.account,
    "activity": activity.activity,
    "battery": power.battery,
    "deviceidle": power.deviceidle,
    "display": window.display,
    "input_method": window.input_method,
    "meminfo": activity.meminfo,
    "package": package.package,
    "power": power.power,
    "thermalservice": power.thermal,
    "webviewupdate": package.webviewupdate,
    "window": window.window,
}
_STRANGE: Final = {"activity": "Bad activity command, or no activities match"}
_BATTERY_WORDS: Final = frozenset({"set", "unplug", "reset", "get"})


def commands(phone: Phone) -> dict[str, Command]:
    """The family's commands."""
    state = phone.state
    state.services |= SERVICES.keys()
    shell = Subcommands(state, "dumpsys battery", battery_shell(phone))

    async def dumpsys(argv: Sequence[str], io: CommandIO) -> int:
        words = list(argv[1:])
        while words[:1] in (["-t"], ["-T"], ["--priority"]) or words[:1] == ["--skip"]:
            words = words[2:]
        if words == ["-l"]:
            names = "".join(f"  {name}\n" for name in sorted(state.services))
            await io.out(f"Currently running services:\n{names}")
            return 0
        if not words:
            for name in sorted(SERVICES):
                dump = SERVICES[name](phone, []) or ""
                await io.out(f"{'-' * 79}\nDUMP OF SERVICE {name}:\n{dump}")
            return 0
        name, rest = words[0], words[1:]
        if name == "battery" and rest[:1] and rest[0] in _BATTERY_WORDS:
            return await shell([name, *rest], io)
        service = SERVICES.get(name)
        if service is None:
            count_unknown(state, argv)
            await io.err(f"Can't find service: {name}\n")
            return 0  # as dumpsys returns; the words on stderr are what there is
        text = service(phone, rest)
        if text is None:
            count_unknown(state, argv)
            await io.out(f"{_STRANGE.get(name, 'Unknown command')}: {' '.join(rest[:1])}\n")
            return 0
        await io.out(text)
        return 0

    return {"dumpsys": dumpsys}
