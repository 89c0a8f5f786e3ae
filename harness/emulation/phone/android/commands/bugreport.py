"""`bugreportz` (frameworks/native/cmds/bugreportz/readme.md of AOSP): a ZIP of what is known."""

from __future__ import annotations

import time
import zipfile
from typing import TYPE_CHECKING, Final

from harness.emulation.phone.android.commands.dumpsys import SERVICES
from harness.emulation.phone.android.logcat import BUFFERS, format_entry
from harness.emulation.phone.android.registry import count_unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.emulation.phone.android.phone import Phone
    from harness.emulation.phone.command import Command, CommandIO

_FOLDER: Final = "/data/user_de/0/com.android.shell/files/bugreports"
_VERSION: Final = "1.2"


def commands(phone: Phone) -> dict[str, Command]:
    """The family's command."""

    async def bugreportz(argv: Sequence[str], io: CommandIO) -> int:
        if argv[1:] == ["-v"]:
            await io.err(f"{_VERSION}\n")
            return 0
        if argv[1:] not in ([], ["-p"]):
            count_unknown(phone.state, argv)
            await io.err("usage: bugreportz [-hpsv]\n")
            return 1
        stamp = time.strftime("%Y-%m-%d-%H-%M-%S", time.gmtime())
        device = phone.state.properties.get("ro.product.name", "virtual")
        path = f"{_FOLDER}/bugreport-{device}-{stamp}.zip"
        if "-p" in argv:
            await io.out(f"BEGIN:{path}\n")
        try:
            file = phone.place.path(path)
            file.parent.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(f"bugreport-{device}-{stamp}.txt", _report(phone))
        except OSError as error:
            await io.out(f"FAIL:{error.strerror}\n")
            return 1
        if "-p" in argv:
            await io.out("PROGRESS:100/100\n")
        await io.out(f"OK:{path}\n")
        return 0

    return {"bugreportz": bugreportz}


def _report(phone: Phone) -> str:
    properties = "".join(
        f"[{name}]: [{value}]\n" for name, value in sorted(phone.state.properties.items())
    )
    log = "".join(format_entry(entry) for entry in phone.state.log.entries(BUFFERS))
    dumps = "".join(
        f"{'-' * 79}\nDUMP OF SERVICE {name}:\n{dump(phone, []) or ''}"
        for name, dump in sorted(SERVICES.items())
    )
    return (
        f"== dumpstate of a virtual phone\n------ SYSTEM PROPERTIES ------\n{properties}"
        f"------ SYSTEM LOG ------\n{log}------ DUMPSYS ------\n{dumps}"
    )
