"""`pm`: packages (PackageManagerShellCommand.java of AOSP)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from harness.emulation.phone.android.commands.install import Installs, plain
from harness.emulation.phone.android.intents import (
    BadIntentError,
    full_component,
    parse_request,
    resolve,
)
from harness.emulation.phone.android.registry import Subcommands, count_unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.emulation.phone.android.phone import Phone
    from harness.emulation.phone.command import Command, CommandIO

_FEATURES: Final = (
    "android.hardware.touchscreen",
    "android.hardware.vulkan.version=4206592",
    "android.hardware.wifi",
)


def commands(phone: Phone) -> dict[str, Command]:
    """The family's commands."""
    table = {**Queries(phone).commands(), **Changes(phone).commands(), **Installs(phone).commands()}
    return {"pm": Subcommands(phone.state, "pm", table)}


class Queries:
    """What is installed."""

    def __init__(self, phone: Phone) -> None:
        self._phone = phone
        self._packages = phone.state.packages

    def commands(self) -> dict[str, Command]:
        """By name."""
        return {
            "path": self._path,
            "list": self._list,
            "resolve-activity": self._resolve_activity,
            "has-feature": self._has_feature,
        }

    async def _path(self, argv: Sequence[str], io: CommandIO) -> int:
        package = self._packages.get(" ".join(plain(argv[1:])))
        if package is None:
            return 1
        await io.out(f"package:{package.path}\n")
        return 0

    async def _list(self, argv: Sequence[str], io: CommandIO) -> int:
        match list(argv[1:2]):
            case ["packages" | "package"]:
                await io.out(_packages(self._phone, argv[2:]))
            case ["instrumentation"]:
                await io.out(
                    "".join(
                        f"instrumentation:{each.name}/{each.instrumentation} "
                        f"(target={each.target})\n"
                        for each in self._packages.values()
                        if each.instrumentation
                    )
                )
            case ["features"]:
                await io.out("".join(f"feature:{name}\n" for name in _FEATURES))
            case ["users"]:
                await io.out("Users:\n\tUserInfo{0:Owner:c13} running\n")
            case ["libraries" | "permissions" | "permission-groups"]:
                pass
            case words:
                count_unknown(self._phone.state, ["pm", *argv])
                await io.err(f"Error: unknown list type '{' '.join(words)}'\n")
                return 255
        return 0

    async def _resolve_activity(self, argv: Sequence[str], io: CommandIO) -> int:
        words = [
            word for word in argv[1:] if word not in {"--brief", "--components", "--query-flags"}
        ]
        try:
            request = parse_request(words)
        except BadIntentError as error:
            count_unknown(self._phone.state, ["pm", *argv])
            await io.err(str(error))
            return 255
        android = self._phone.place.profile.android
        package = resolve(self._phone.state, request.intent, android.package if android else "")
        installed = self._packages.get(package or "")
        if installed is None or installed.component is None:
            await io.out("No activity found\n")
            return 0
        component = full_component(installed.component)
        if "--components" in argv:
            await io.out(f"{component}\n")
        elif "--brief" in argv:
            head = "priority=0 preferredOrder=0 match=0x108000 specificIndex=-1 isDefault=true"
            await io.out(f"{head}\n{component}\n")
        else:
            await io.out(
                "priority=0 preferredOrder=0 match=0x108000 specificIndex=-1 isDefault=true\n"
                f"ActivityInfo:\n  name={component.partition('/')[2]}\n"
                f"  packageName={installed.name}\n"
            )
        return 0

    async def _has_feature(self, argv: Sequence[str], io: CommandIO) -> int:
        there = any(name.partition("=")[0] in argv for name in _FEATURES)
        await io.out(f"{str(there).lower()}\n")
        return 0


def _packages(phone: Phone, words: Sequence[str]) -> str:
    flags = [word for word in words if word.startswith("-")]
    wanted = next(iter(plain(words)), "")
    lines = ""
    for package in sorted(phone.state.packages.values(), key=lambda each: each.name):
        if wanted not in package.name:
            continue
        if ("-3" in flags and package.system) or ("-s" in flags and not package.system):
            continue
        if "-d" in flags:  # nothing is ever disabled
            continue
        path = f"{package.path}=" if "-f" in flags else ""
        code = f" versionCode:{package.version_code}" if "--show-versioncode" in flags else ""
        uid = f" uid:{package.uid}" if "-U" in flags else ""
        lines += f"package:{path}{package.name}{code}{uid}\n"
    return lines


class Changes:
    """Clearing, removing, granting."""

    def __init__(self, phone: Phone) -> None:
        self._phone = phone
        self._packages = phone.state.packages

    def commands(self) -> dict[str, Command]:
        """By name."""
        return {
            "clear": self._clear,
            "uninstall": self._uninstall,
            "grant": self._grant,
            "revoke": self._grant,
            "trim-caches": self._nothing,
        }

    async def _clear(self, argv: Sequence[str], io: CommandIO) -> int:
        name = " ".join(plain(argv[1:]))
        if name not in self._packages:
            await io.out("Failed\n")
            return 1
        await self._phone.force_stop(name)
        if app := self._phone.app(name):
            await app.clear()
        self._phone.state.permissions.pop(name, None)
        await io.out("Success\n")
        return 0

    async def _uninstall(self, argv: Sequence[str], io: CommandIO) -> int:
        name = " ".join(plain(argv[1:])[:1])
        package = self._packages.get(name)
        if package is None or package.system:
            await io.out("Failure [DELETE_FAILED_INTERNAL_ERROR]\n")
            return 1
        await self._phone.force_stop(name)
        if app := self._phone.apps.pop(name, None):
            await app.clear()
        del self._packages[name]
        self._phone.state.permissions.pop(name, None)
        await io.out("Success\n")
        return 0

    async def _grant(self, argv: Sequence[str], io: CommandIO) -> int:
        words = plain(argv[1:])
        if len(words) < 2 or words[0] not in self._packages:  # noqa: PLR2004 - PACKAGE PERMISSION
            await io.err(
                f"Exception occurred while executing '{argv[0]}':\n"
                f"java.lang.IllegalArgumentException: Unknown package: "
                f"{' '.join(words[:1])}\n"
            )
            return 255
        granted = self._phone.state.permissions.setdefault(words[0], set())
        if argv[0] == "grant":
            granted.add(words[1])
        else:
            granted.discard(words[1])
        return 0

    async def _nothing(self, argv: Sequence[str], io: CommandIO) -> int:
        del argv, io
        return 0
