"""Commands with little behind them: `df`, `appops`, `ime`, `monkey`, `getenforce`, ..."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from harness.emulation.phone.android.apps_base import Intent, LaunchError
from harness.emulation.phone.android.registry import Subcommands, count_unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.emulation.phone.android.phone import Phone
    from harness.emulation.phone.command import Command, CommandIO

_IME: Final = "com.google.android.inputmethod.latin/com.android.inputmethod.latin.LatinIME"
# path prefix -> (device, mount); the last that fits is the one.
_MOUNTS: Final = (
    ("/", "/dev/block/dm-4", "/"),
    ("/system", "/dev/block/dm-4", "/"),
    ("/vendor", "/dev/block/dm-2", "/vendor"),
    ("/data", "/dev/block/dm-47", "/data"),
    ("/sdcard", "/dev/fuse", "/storage/emulated"),
    ("/storage/emulated", "/dev/fuse", "/storage/emulated"),
)


def commands(phone: Phone) -> dict[str, Command]:
    """The family's commands."""
    state = phone.state

    async def df(argv: Sequence[str], io: CommandIO) -> int:
        flags = "".join(word.lstrip("-") for word in argv[1:] if word.startswith("-"))
        if strange := set(flags) - set("hkPaH"):
            count_unknown(state, argv)
            await io.err(f"df: Unknown option '{min(strange)}' (see \"df --help\")\n")
            return 1
        paths = [word for word in argv[1:] if not word.startswith("-")]
        rows = [_HEAD_HUMAN if "h" in flags or "H" in flags else _HEAD]
        code = 0
        for path in paths or ["/system", "/vendor", "/data", "/sdcard"]:
            if not path.startswith("/") or not (_known(path) or phone.place.path(path).exists()):
                await io.err(f"df: {path}: No such file or directory\n")
                code = 1
                continue
            rows.append(_row(phone, path, human="h" in flags or "H" in flags))
        if len(rows) > 1:
            await io.out("".join(rows))
        return code

    async def getenforce(argv: Sequence[str], io: CommandIO) -> int:
        del argv
        await io.out("Enforcing\n")
        return 0

    async def monkey(argv: Sequence[str], io: CommandIO) -> int:
        words = list(argv[1:])
        package = words[words.index("-p") + 1] if "-p" in words[:-1] else ""
        app = phone.app(package)
        if app is None:
            await io.err("** No activities found to run, monkey aborted.\n")
            return 252
        try:
            await phone.launch(app, Intent(action="android.intent.action.MAIN", package=package))
        except LaunchError as error:
            await io.err(f"** {error}\n")
            return 1
        await io.out("Events injected: 1\n")
        return 0

    return {
        "df": df,
        "getenforce": getenforce,
        "monkey": monkey,
        "appops": _appops(phone),
        "ime": Subcommands(state, "ime", _ime(phone)),
        "device_config": Subcommands(state, "device_config", _device_config(phone)),
        "service": Subcommands(state, "service", _service(phone)),
    }


_HEAD: Final = "Filesystem       1K-blocks     Used Available Use% Mounted on\n"
_HEAD_HUMAN: Final = "Filesystem        Size  Used Avail Use% Mounted on\n"


def _known(path: str) -> bool:
    return any(path == prefix or path.startswith(f"{prefix}/") for prefix, _, _ in _MOUNTS)


def _row(phone: Phone, path: str, *, human: bool) -> str:
    fitting = [
        item for item in _MOUNTS if path == item[0] or path.startswith(item[0].rstrip("/") + "/")
    ]
    _, device, mount = max(fitting, key=lambda item: len(item[0]), default=_MOUNTS[0])
    storage = phone.state.storage
    if mount in {"/data", "/storage/emulated"}:
        total, free = storage.total, storage.available
    else:
        total, free = 4 << 30, 0
    used = total - free
    percent = f"{round(100 * used / total) if total else 0}%"
    if human:
        sizes = [_human(total), _human(used), _human(free)]
        return f"{device:<16} {sizes[0]:>5} {sizes[1]:>5} {sizes[2]:>5} {percent:>4} {mount}\n"
    return f"{device:<16} {total >> 10:>9} {used >> 10:>8} {free >> 10:>9} {percent:>4} {mount}\n"


def _human(size: float) -> str:
    for unit in "BKMG":
        if size < 1024:  # noqa: PLR2004 - toybox's human_readable
            return f"{size:.0f}{unit}" if size >= 10 or unit == "B" else f"{size:.1f}{unit}"  # noqa: PLR2004
        size /= 1024
    return f"{size:.1f}T"


def _appops(phone: Phone) -> Command:
    async def run(argv: Sequence[str], io: CommandIO) -> int:
        match list(argv[1:]):
            case ["set" | "reset", *rest] if rest:
                package = next((word for word in rest if "." in word), "")
                if package and package not in phone.state.packages:
                    await io.err(f"Error: No UID for {package} in user 0\n")
                    return 255
                return 0
            case ["get", package, *_] if package in phone.state.packages:
                await io.out("No operations.\n")
                return 0
            case _:
                count_unknown(phone.state, argv)
                await io.err(f"Unknown command: {' '.join(argv[1:2])}\n")
                return 255

    return run


def _ime(phone: Phone) -> dict[str, Command]:
    secure = phone.state.settings["secure"]
    methods = {_IME}

    async def list_(argv: Sequence[str], io: CommandIO) -> int:
        del argv
        await io.out("".join(f"{name}\n" for name in sorted(methods)))
        return 0

    async def set_(argv: Sequence[str], io: CommandIO) -> int:
        if argv[1:2] and argv[1] in methods:
            secure["default_input_method"] = argv[1]
            await io.out(f"Input method {argv[1]} selected for user #0\n")
            return 0
        await io.err(f"Unknown input method {' '.join(argv[1:2])} cannot be selected for user #0\n")
        return 255

    async def enable(argv: Sequence[str], io: CommandIO) -> int:
        name = " ".join(argv[1:2])
        if (
            not re.fullmatch(r"[\w.]+/[\w.$]+", name)
            or name.split("/")[0] not in phone.state.packages
        ):
            await io.err(f"Unknown input method {name} cannot be enabled for user #0\n")
            return 255
        methods.add(name)
        await io.out(f"Input method {name}: now enabled for user #0\n")
        return 0

    async def reset(argv: Sequence[str], io: CommandIO) -> int:
        del argv, io
        secure["default_input_method"] = _IME
        return 0

    return {"list": list_, "set": set_, "enable": enable, "disable": enable, "reset": reset}


def _device_config(phone: Phone) -> dict[str, Command]:
    values: dict[tuple[str, str], str] = {}
    del phone

    async def get(argv: Sequence[str], io: CommandIO) -> int:
        await io.out(values.get((argv[1], argv[2]), "null") + "\n" if len(argv) > 2 else "")  # noqa: PLR2004
        return 0 if len(argv) > 2 else 255  # noqa: PLR2004

    async def put(argv: Sequence[str], io: CommandIO) -> int:
        del io
        if len(argv) < 4:  # noqa: PLR2004 - put NAMESPACE NAME VALUE
            return 255
        values[argv[1], argv[2]] = argv[3]
        return 0

    return {"get": get, "put": put}


def _service(phone: Phone) -> dict[str, Command]:
    async def check(argv: Sequence[str], io: CommandIO) -> int:
        name = " ".join(argv[1:2])
        there = name in phone.state.services
        await io.out(f"Service {name}: {'found' if there else 'not found'}\n")
        return 0

    async def list_(argv: Sequence[str], io: CommandIO) -> int:
        del argv
        names = sorted(phone.state.services)
        rows = (f"{number}\t{name}: []\n" for number, name in enumerate(names))
        await io.out(f"Found {len(names)} services:\n{''.join(rows)}")
        return 0

    return {"check": check, "list": list_}
