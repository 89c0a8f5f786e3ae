"""`pm install` and its sessions (PackageManagerShellCommand.java of AOSP)."""

from __future__ import annotations

import io as streams
import re
import secrets
from typing import TYPE_CHECKING, Final

from harness.emulation.phone.android.apk import ApkError, read_apk
from harness.emulation.phone.android.state import Package

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.emulation.phone.android.phone import Phone
    from harness.emulation.phone.command import Command, CommandIO

_LARGEST_APK: Final = 512 << 20


def plain(words: Sequence[str]) -> list[str]:
    """The words without options and the values of `--user` and `-i`."""
    rest, result = list(words), []
    while rest:
        word = rest.pop(0)
        if word in {"--user", "-i", "-S", "--install-location", "--abi", "--originating-uri"}:
            rest[:1] = []
        elif not word.startswith("-"):
            result.append(word)
    return result


class Installs:
    """Installing, at once or by sessions."""

    def __init__(self, phone: Phone) -> None:
        self._phone = phone
        self._sessions: dict[str, list[bytes]] = {}

    def commands(self) -> dict[str, Command]:
        """By name."""
        return {
            "install": self._install,
            "install-create": self._create,
            "install-write": self._write,
            "install-commit": self._commit,
            "install-abandon": self._abandon,
        }

    async def _from_stdin(self, size: int, io: CommandIO) -> bytes:
        data = bytearray()
        while len(data) < size and (piece := await io.stdin()):
            data += piece
        return bytes(data[:size])

    async def _finish(self, data: bytes, io: CommandIO) -> int:
        try:
            manifest = read_apk(streams.BytesIO(data))
        except ApkError as error:
            await io.out(f"Failure [INSTALL_PARSE_FAILED_NOT_APK: {error}]\n")
            return 1
        name = manifest.package
        if not re.fullmatch(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+", name):
            await io.out(f"Failure [INSTALL_PARSE_FAILED_BAD_PACKAGE_NAME: {name[:100]}]\n")
            return 1
        before = self._phone.state.packages.get(name)
        await self._phone.force_stop(name)
        self._phone.apps.pop(name, None)
        token = secrets.token_urlsafe(12)
        self._phone.state.packages[name] = Package(
            name=name,
            uid=before.uid if before else self._phone.state.next_uid(),
            version=manifest.version or "1.0",
            version_code=manifest.version_code or 1,
            activity=manifest.activity,
            instrumentation=manifest.instrumentation,
            target=manifest.target,
            path=f"/data/app/~~{token}==/{name}-virtual==/base.apk",
        )
        await io.out("Success\n")
        return 0

    async def _read(self, path: str, io: CommandIO) -> bytes | None:
        try:
            with self._phone.place.path(path).open("rb") as file:
                return file.read(_LARGEST_APK)
        except OSError as error:
            await io.err(f"Error: failed to open file: {path} ({error.strerror})\n")
            return None

    def _size_of(self, argv: Sequence[str]) -> int:
        text = argv[argv.index("-S") + 1] if "-S" in argv[:-1] else ""
        return min(int(text), _LARGEST_APK) if re.fullmatch(r"\d{1,10}", text) else 0

    async def _install(self, argv: Sequence[str], io: CommandIO) -> int:
        words = plain(argv[1:])
        if size := self._size_of(argv):
            return await self._finish(await self._from_stdin(size, io), io)
        data = await self._read(words[0], io) if words else None
        if data is None:
            if not words:
                await io.err("Error: must either specify a package size or an APK file\n")
            return 1
        return await self._finish(data, io)

    async def _create(self, argv: Sequence[str], io: CommandIO) -> int:
        del argv
        if len(self._sessions) > 16:  # noqa: PLR2004 - abandoned ones
            self._sessions.clear()
        number = str(secrets.randbelow(1 << 30))
        self._sessions[number] = []
        await io.out(f"Success: created install session [{number}]\n")
        return 0

    async def _write(self, argv: Sequence[str], io: CommandIO) -> int:
        words = plain(argv[1:])
        if not words or words[0] not in self._sessions:
            await io.err("Error: no such session\n")
            return 1
        size = self._size_of(argv)
        from_file = len(words) > 2 and words[2] != "-"  # noqa: PLR2004 - SESSION NAME PATH
        data = await self._read(words[2], io) if from_file else await self._from_stdin(size, io)
        if data is None:
            return 1
        self._sessions[words[0]].append(data)
        await io.out(f"Success: streamed {len(data)} bytes\n")
        return 0

    async def _commit(self, argv: Sequence[str], io: CommandIO) -> int:
        parts = self._sessions.pop(" ".join(plain(argv[1:])), [])
        if not parts:
            await io.out("Failure [INSTALL_FAILED_SESSION_INVALID]\n")
            return 1
        return await self._finish(parts[0], io)  # the base comes first; splits add nothing here

    async def _abandon(self, argv: Sequence[str], io: CommandIO) -> int:
        self._sessions.pop(" ".join(plain(argv[1:])), None)
        await io.out("Success\n")
        return 0
