"""`am instrument`: the one instrumentation that is known is Appium's UiAutomator2 server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from harness.emulation.phone.android.registry import count_unknown
from harness.emulation.phone.android.uia2 import Uia2Server

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.emulation.phone.android.phone import Phone
    from harness.emulation.phone.command import CommandIO

SERVER: Final = "io.appium.uiautomator2.server.test"


async def instrument(phone: Phone, argv: Sequence[str], io: CommandIO) -> int:
    """Run until the session ends; cancelled with its shell, as on a phone."""
    component = argv[-1] if len(argv) > 1 else ""
    package = component.partition("/")[0]
    installed = phone.state.packages.get(package)
    if installed is None or installed.instrumentation is None:
        await io.out(
            "INSTRUMENTATION_STATUS: id=ActivityManagerService\n"
            "INSTRUMENTATION_STATUS: Error=Unable to find instrumentation info for: "
            f"ComponentInfo{{{component}}}\nINSTRUMENTATION_STATUS_CODE: -1\n"
            f"INSTRUMENTATION_FAILED: {component}\n"
        )
        return 0
    if package != SERVER:
        count_unknown(phone.state, ["am", "instrument", package])
        await io.out(f"INSTRUMENTATION_FAILED: {component}\n")
        return 0
    server = Uia2Server(phone)
    begun = time.monotonic()
    try:
        await server.start()
    except OSError as error:
        await io.out(f"INSTRUMENTATION_ABORTED: System has crashed ({error.strerror}).\n")
        return 0
    phone.state.log.write("I", "appium", "[AppiumUiAutomator2Server] Server started")
    try:
        await server.ended.wait()
    finally:
        await server.close()
    spent = time.monotonic() - begun
    await io.out(
        f"\nINSTRUMENTATION_RESULT: stream=\n\nTime: {spent:.3f}\n\nOK (1 test)\n\n\n"
        "INSTRUMENTATION_CODE: -1\n"
    )
    return 0
