"""`am`: the activity manager's shell (ActivityManagerShellCommand.java of AOSP)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from harness.emulation.phone.android.apps_base import LaunchError
from harness.emulation.phone.android.instrument import instrument
from harness.emulation.phone.android.intents import (
    HOME_CATEGORY,
    BadIntentError,
    Request,
    full_component,
    parse_request,
    resolve,
)
from harness.emulation.phone.android.phone import HOME
from harness.emulation.phone.android.registry import Subcommands, count_unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.emulation.phone.android.phone import Phone
    from harness.emulation.phone.command import Command, CommandIO


def commands(phone: Phone) -> dict[str, Command]:
    """The family's commands."""
    return ActivityManager(phone).commands()


class ActivityManager:
    """The shell of the activity manager."""

    def __init__(self, phone: Phone) -> None:
        self._phone = phone
        self._state = phone.state
        self._browser = phone.place.profile.android.package if phone.place.profile.android else ""

    def commands(self) -> dict[str, Command]:
        """By name."""
        table = {
            "start": self._start,
            "start-activity": self._start,
            "force-stop": self._force_stop,
            "stop-app": self._force_stop,
            "kill": self._kill,
            "set-debug-app": self._set_debug_app,
            "clear-debug-app": self._clear_debug_app,
            "broadcast": self._broadcast,
            "startservice": self._service,
            "start-service": self._service,
            "start-foreground-service": self._service,
            "startforegroundservice": self._service,
            "get-current-user": self._user,
            "instrument": self._run_instrument,
            "wait-for-broadcast-idle": self._nothing,
        }
        return {"am": Subcommands(self._state, "am", table)}

    async def _start(self, argv: Sequence[str], io: CommandIO) -> int:
        request = await self._request(argv, io)
        if request is None:
            return 1
        intent = request.intent
        if HOME_CATEGORY in intent.categories:
            self._state.foreground = None
            await io.out(f"Starting: {intent}\n")
            if request.wait:
                await io.out(_waited("HOT", HOME, 20))
            return 0
        package = resolve(self._state, intent, self._browser)
        app = self._phone.app(package) if package else None
        if request.stop and package:
            await self._phone.force_stop(package)
        await io.out(f"Starting: {intent}\n")
        if app is None or package is None:
            return await self._no_activity(request, io)
        wanted = intent.component and full_component(intent.component)
        known = full_component(self._state.packages[package].component or package)
        if wanted and wanted.split("/")[0] != self._browser and wanted != known:
            return await self._no_activity(request, io)
        return await self._launch(request, package, io)

    async def _no_activity(self, request: Request, io: CommandIO) -> int:
        intent = request.intent
        if intent.component:
            await io.err(
                "Error type 3\nError: Activity class "
                f"{{{full_component(intent.component)}}} does not exist.\n"
            )
        else:
            await io.err(f"Error: Activity not started, unable to resolve {intent}\n")
        return 1

    async def _launch(self, request: Request, package: str, io: CommandIO) -> int:
        app = self._phone.app(package)
        assert app is not None
        was_front = (self._state.foreground or "").startswith(f"{package}/")
        begun = time.monotonic()
        try:
            cold = await self._phone.launch(app, request.intent)
        except LaunchError as error:
            self._state.log.write("E", "tierlab", f"{package} does not start: {error}")
            await io.err(f"Error: Activity not started, {package} does not start: {error}\n")
            return 1
        if not cold and was_front:
            await io.out(
                "Warning: Activity not started, intent has been delivered to currently "
                "running top-most instance.\n"
            )
        if request.wait:
            spent = int((time.monotonic() - begun) * 1000)
            launch_state = "COLD" if cold else "HOT" if was_front else "WARM"
            await io.out(_waited(launch_state, app.activity, spent))
        return 0

    async def _force_stop(self, argv: Sequence[str], io: CommandIO) -> int:
        packages = _without_user(argv[1:])
        if len(packages) != 1:
            await io.err("Error: Argument expected\n")
            return 255
        await self._phone.force_stop(packages[0])
        return 0

    async def _kill(self, argv: Sequence[str], io: CommandIO) -> int:
        # Only what is in the background is killed; an app at the front stays.
        packages = _without_user(argv[1:])
        if len(packages) != 1:
            await io.err("Error: Argument expected\n")
            return 255
        if not self._phone.resumed.startswith(f"{packages[0]}/"):
            await self._phone.force_stop(packages[0])
        return 0

    async def _set_debug_app(self, argv: Sequence[str], io: CommandIO) -> int:
        packages = [word for word in argv[1:] if not word.startswith("-")]
        if len(packages) != 1:
            await io.err("Error: Argument expected\n")
            return 255
        self._state.settings["global"]["debug_app"] = packages[0]
        self._state.settings["global"]["wait_for_debugger"] = "1" if "-w" in argv else "0"
        return 0

    async def _clear_debug_app(self, argv: Sequence[str], io: CommandIO) -> int:
        del argv, io
        self._state.settings["global"].pop("debug_app", None)
        return 0

    async def _broadcast(self, argv: Sequence[str], io: CommandIO) -> int:
        request = await self._request(argv, io)
        if request is None:
            return 1
        # Only the helper app of Appium answers broadcasts here: -1 is RESULT_OK.
        target = request.intent.component or request.intent.action or ""
        answered = (
            target.startswith("io.appium.settings") and "io.appium.settings" in self._state.packages
        )
        await io.out(f"Broadcasting: {request.intent}\n")
        result = 'result=-1, data=""' if answered else "result=0"
        await io.out(f"Broadcast completed: {result}\n")
        return 0

    async def _service(self, argv: Sequence[str], io: CommandIO) -> int:
        request = await self._request(argv, io)
        if request is None:
            return 1
        package = (request.intent.component or "").partition("/")[0]
        if package not in self._state.packages:
            await io.err("Error: Not found; no service started.\n")
            return 255
        if app := self._phone.app(package):
            await app.start(request.intent)
        await io.out(f"Starting service: {request.intent}\n")
        return 0

    async def _request(self, argv: Sequence[str], io: CommandIO) -> Request | None:
        """What a command asks for; a word that is not known is told."""
        try:
            return parse_request(argv[1:])
        except BadIntentError as error:
            count_unknown(self._state, ["am", *argv])
            await io.err(str(error))
            return None

    async def _user(self, argv: Sequence[str], io: CommandIO) -> int:
        del argv
        await io.out("0\n")
        return 0

    async def _run_instrument(self, argv: Sequence[str], io: CommandIO) -> int:
        return await instrument(self._phone, argv, io)

    async def _nothing(self, argv: Sequence[str], io: CommandIO) -> int:
        del argv, io
        return 0


def _without_user(words: Sequence[str]) -> list[str]:
    rest = list(words)
    if "--user" in rest:
        at = rest.index("--user")
        del rest[at : at + 2]
    return rest


def _waited(launch_state: str, activity: str, spent: int) -> str:
    return (
        f"Status: ok\nLaunchState: {launch_state}\nActivity: {activity}\n"
        f"TotalTime: {spent}\nWaitTime: {spent + 9}\nComplete\n"
    )
