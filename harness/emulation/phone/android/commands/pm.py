"""`pm`: packages (PackageManagerShellCommand.java of AOSP)."""

from __future__ import annotations

import io as streams
import re
import secrets
from typing import TYPE_CHECKING, Final

from harness.emulation.phone.android.apk import ApkError, read_apk
from harness.emulation.phone.android.intents import (
    BadIntentError,
    full_component,
    parse_request,
    resolve,
)
from harness.emulation.phone.android.registry import Subcommands, count_unknown
from harness.emulation.phone.android.state import Package

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.emulation.phone.android.phone import Phone
    from harness.emulation.phone.command import Command, CommandIO

_LARGEST_APK: Final = 512 << 20
_FEATURES: Final = (
    "android.hardware.touchscreen",
    "android.hardware.vulkan.version=4206592",
    "android.hardware.wifi",
)


def commands(phone: Phone) -> dict[str, Command]:
    """The family's commands."""
    table = {**_queries(phone), **_changes(phone), **_installs(phone)}
    return {"pm": Subcommands(phone.state, "pm", table)}


def _plain(words: Sequence[str]) -> list[str]:
    """The words without options and the values of `--user` and `-i`."""
    rest, result = list(words), []
    while rest:
        word = rest.pop(0)
        if word in {"--user", "-i", "-S", "--install-location", "--abi", "--originating-uri"}:
            rest[:1] = []
        elif not word.startswith("-"):
            result.append(word)
    return result


def _queries(phone: Phone) -> dict[str, Command]:
    packages = phone.state.packages

    async def path(argv: Sequence[str], io: CommandIO) -> int:
        package = packages.get(" ".join(_plain(argv[1:])))
        if package is None:
            return 1
        await io.out(f"package:{package.path}\n")
        return 0

    async def list_(argv: Sequence[str], io: CommandIO) -> int:
        match list(argv[1:2]):
            case ["packages" | "package"]:
                await io.out(_packages(phone, argv[2:]))
            case ["instrumentation"]:
                await io.out(
                    "".join(
                        f"instrumentation:{each.name}/{each.instrumentation} "
                        f"(target={each.target})\n"
                        for each in packages.values()
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
                count_unknown(phone.state, ["pm", *argv])
                await io.err(f"Error: unknown list type '{' '.join(words)}'\n")
                return 255
        return 0

    async def resolve_activity(argv: Sequence[str], io: CommandIO) -> int:
        words = [
            word for word in argv[1:] if word not in {"--brief", "--components", "--query-flags"}
        ]
        try:
            request = parse_request(words)
        except BadIntentError as error:
            count_unknown(phone.state, ["pm", *argv])
            await io.err(str(error))
            return 255
        android = phone.place.profile.android
        package = resolve(phone.state, request.intent, android.package if android else "")
        installed = packages.get(package or "")
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

    async def has_feature(argv: Sequence[str], io: CommandIO) -> int:
        there = any(name.partition("=")[0] in argv for name in _FEATURES)
        await io.out(f"{str(there).lower()}\n")
        return 0

    return {
        "path": path,
        "list": list_,
        "resolve-activity": resolve_activity,
        "has-feature": has_feature,
    }


def _packages(phone: Phone, words: Sequence[str]) -> str:
    flags = [word for word in words if word.startswith("-")]
    wanted = next(iter(_plain(words)), "")
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


def _changes(phone: Phone) -> dict[str, Command]:
    packages = phone.state.packages

    async def clear(argv: Sequence[str], io: CommandIO) -> int:
        name = " ".join(_plain(argv[1:]))
        if name not in packages:
            await io.out("Failed\n")
            return 1
        await phone.force_stop(name)
        if app := phone.app(name):
            await app.clear()
        await io.out("Success\n")
        return 0

    async def uninstall(argv: Sequence[str], io: CommandIO) -> int:
        name = " ".join(_plain(argv[1:])[:1])
        package = packages.get(name)
        if package is None or package.system:
            await io.out("Failure [DELETE_FAILED_INTERNAL_ERROR]\n")
            return 1
        await phone.force_stop(name)
        if app := phone.apps.pop(name, None):
            await app.clear()
        del packages[name]
        await io.out("Success\n")
        return 0

    async def grant(argv: Sequence[str], io: CommandIO) -> int:
        words = _plain(argv[1:])
        if len(words) < 2 or words[0] not in packages:  # noqa: PLR2004 - PACKAGE PERMISSION
            await io.err(
                f"Exception occurred while executing '{argv[0]}':\n"
                f"java.lang.IllegalArgumentException: Unknown package: "
                f"{' '.join(words[:1])}\n"
            )
            return 255
        return 0

    async def nothing(argv: Sequence[str], io: CommandIO) -> int:
        del argv, io
        return 0

    return {
        "clear": clear,
        "uninstall": uninstall,
        "grant": grant,
        "revoke": grant,
        "trim-caches": nothing,
    }


def _installs(phone: Phone) -> dict[str, Command]:
    sessions: dict[str, list[bytes]] = {}

    async def from_stdin(size: int, io: CommandIO) -> bytes:
        data = bytearray()
        while len(data) < size and (piece := await io.stdin()):
            data += piece
        return bytes(data[:size])

    async def finish(data: bytes, io: CommandIO) -> int:
        try:
            manifest = read_apk(streams.BytesIO(data))
        except ApkError as error:
            await io.out(f"Failure [INSTALL_PARSE_FAILED_NOT_APK: {error}]\n")
            return 1
        name = manifest.package
        if not re.fullmatch(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+", name):
            await io.out(f"Failure [INSTALL_PARSE_FAILED_BAD_PACKAGE_NAME: {name[:100]}]\n")
            return 1
        before = phone.state.packages.get(name)
        await phone.force_stop(name)
        phone.apps.pop(name, None)
        token = secrets.token_urlsafe(12)
        phone.state.packages[name] = Package(
            name=name,
            uid=before.uid if before else phone.state.next_uid(),
            version=manifest.version or "1.0",
            version_code=manifest.version_code or 1,
            activity=manifest.activity,
            instrumentation=manifest.instrumentation,
            target=manifest.target,
            path=f"/data/app/~~{token}==/{name}-virtual==/base.apk",
        )
        await io.out("Success\n")
        return 0

    async def read(path: str, io: CommandIO) -> bytes | None:
        try:
            file = phone.place.path(path)
            if file.stat().st_size > _LARGEST_APK:
                raise OSError(27, "File too large")
            return file.read_bytes()
        except OSError as error:
            await io.err(f"Error: failed to open file: {path} ({error.strerror})\n")
            return None

    def size_of(argv: Sequence[str]) -> int:
        text = argv[argv.index("-S") + 1] if "-S" in argv[:-1] else ""
        return min(int(text), _LARGEST_APK) if re.fullmatch(r"\d{1,10}", text) else 0

    async def install(argv: Sequence[str], io: CommandIO) -> int:
        words = _plain(argv[1:])
        if size := size_of(argv):
            return await finish(await from_stdin(size, io), io)
        data = await read(words[0], io) if words else None
        if data is None:
            if not words:
                await io.err("Error: must either specify a package size or an APK file\n")
            return 1
        return await finish(data, io)

    async def create(argv: Sequence[str], io: CommandIO) -> int:
        del argv
        if len(sessions) > 16:  # noqa: PLR2004 - abandoned ones
            sessions.clear()
        number = str(secrets.randbelow(1 << 30))
        sessions[number] = []
        await io.out(f"Success: created install session [{number}]\n")
        return 0

    async def write(argv: Sequence[str], io: CommandIO) -> int:
        words = _plain(argv[1:])
        if not words or words[0] not in sessions:
            await io.err("Error: no such session\n")
            return 1
        size = size_of(argv)
        from_file = len(words) > 2 and words[2] != "-"  # noqa: PLR2004 - SESSION NAME PATH
        data = await read(words[2], io) if from_file else await from_stdin(size, io)
        if data is None:
            return 1
        sessions[words[0]].append(data)
        await io.out(f"Success: streamed {len(data)} bytes\n")
        return 0

    async def commit(argv: Sequence[str], io: CommandIO) -> int:
        parts = sessions.pop(" ".join(_plain(argv[1:])), [])
        if not parts:
            await io.out("Failure [INSTALL_FAILED_SESSION_INVALID]\n")
            return 1
        return await finish(parts[0], io)  # the base comes first; splits add nothing here

    async def abandon(argv: Sequence[str], io: CommandIO) -> int:
        sessions.pop(" ".join(_plain(argv[1:])), None)
        await io.out("Success\n")
        return 0

    return {
        "install": install,
        "install-create": create,
        "install-write": write,
        "install-commit": commit,
        "install-abandon": abandon,
    }
