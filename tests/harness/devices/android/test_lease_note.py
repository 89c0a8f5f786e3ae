"""The lease on a phone, with a shell of this machine in the phone's place: its clock is a file."""

from __future__ import annotations

import asyncio
import copy
import shutil
import subprocess
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from harness.devices.android import lease_note
from harness.devices.android.failures import (
    CommandError,
    PhoneTakenError,
    TransportLostError,
)
from harness.devices.android.lease_format import EXPIRY_SECONDS
from harness.devices.android.lease_note import LeaseNote, held_on_phone, look
from harness.devices.android.phone import Output, Phone
from harness.devices.base import DeviceLostError, HeldElsewhereError, LeaseLostError
from harness.devices.lease import lease

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

SHELL = shutil.which("mksh") or "/bin/sh"
RESOURCE = "phone-x"


class ShellPhone:
    """Runs commands on this machine, in a folder of its own."""

    serial = "x"
    taken: str | None = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.gone = False
        (folder / "data/local/tmp").mkdir(parents=True)
        self.boot(1, uptime=1000)

    def boot(self, number: int, *, uptime: float) -> None:
        (self.folder / "boot_id").write_text(f"0000000{number}-0000\n")
        self.wait_until(uptime)

    def wait_until(self, uptime: float) -> None:
        (self.folder / "uptime").write_text(f"{uptime:.2f} 1.00\n")

    @property
    def notes(self) -> Path:
        return self.folder / "data/local/tmp/tierlab-lease"

    def names(self) -> list[str]:
        return sorted(path.name for path in self.notes.iterdir())

    def as_phone(self) -> Phone:
        return self  # type: ignore[return-value]

    async def run(
        self, command: str | Sequence[str], *, within: float = 20.0, check: bool = True
    ) -> Output:
        if self.gone:
            raise TransportLostError("gone")
        if self.taken is not None:
            raise PhoneTakenError(self.taken)
        assert isinstance(command, str)
        for there, here in {
            "/data": "data",
            "/proc/uptime": "uptime",
            "/proc/sys/kernel/random/boot_id": "boot_id",
        }.items():
            command = command.replace(there, str(self.folder / here))
        process = await asyncio.create_subprocess_exec(
            *(SHELL, "-c", command), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, err = await asyncio.wait_for(process.communicate(), within)
        assert process.returncode is not None
        if check and process.returncode:
            raise CommandError(command, process.returncode, (out + err).decode())
        return Output(out.decode(), process.returncode, err.decode())


@pytest.fixture
def phone(tmp_path: Path) -> ShellPhone:
    (tmp_path / "phone").mkdir()
    return ShellPhone(tmp_path / "phone")


class Host:
    """A state directory: what makes one machine another than the next."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.name = folder.name
        self.phone: ShellPhone
        self._folder = folder
        self._patch = patch

    def holds(
        self, phone: ShellPhone, said: list[str] | None = None
    ) -> AbstractAsyncContextManager[LeaseNote]:
        """Hold the phone as a run of this host does."""

        @asynccontextmanager
        async def held() -> AsyncIterator[LeaseNote]:
            self._patch.setenv("TIERLAB_STATE", str(self._folder))
            say = (said if said is not None else []).append
            self.phone = copy.copy(phone)  # each host has a connection of its own
            with lease(RESOURCE, owner=f"run of {self.name}", wait_seconds=0):
                async with held_on_phone(self.phone.as_phone(), RESOURCE, say=say) as note:
                    yield note

        return held()


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Host, Host]:
    first, second = (Host(tmp_path / name, monkeypatch) for name in ("first", "second"))
    return first, second


async def abandoned(host: Host, phone: ShellPhone) -> LeaseNote:
    """A lease whose host is cut off: it neither ends it nor gives a sign."""
    async with host.holds(phone) as note:
        host.phone.gone = True
    host.phone.gone = False
    return note


def test_one_host_after_the_other(phone: ShellPhone, hosts: tuple[Host, Host]) -> None:
    async def main() -> list[int]:
        numbers = []
        for host in hosts:
            async with host.holds(phone) as note:
                numbers.append(note.number)
                seen = await look(phone.as_phone())
                assert seen.held
                assert seen.holder.startswith(f"run of {host.name} on ")
                assert await note.overtaken() is None
                assert phone.names() == [str(note.number)]
            assert not (await look(phone.as_phone())).held
        return numbers

    assert asyncio.run(main()) == [1, 3]
    assert phone.names() == ["4"]
    assert str((phone.notes / "4").readlink()) == "free"


def test_no_two_hosts_at_once(phone: ShellPhone, hosts: tuple[Host, Host]) -> None:
    first, second = hosts

    async def main() -> None:
        async with first.holds(phone) as note:
            with pytest.raises(HeldElsewhereError, match=r"in use by run of first on .* \(since"):
                async with second.holds(phone):
                    raise AssertionError
            assert await note.overtaken() is None

    asyncio.run(main())


def test_many_at_once_and_one_gets_it(phone: ShellPhone, hosts: tuple[Host, Host]) -> None:
    first, second = hosts

    async def main() -> None:
        await abandoned(first, phone)
        phone.wait_until(1000 + EXPIRY_SECONDS)
        seen = await look(phone.as_phone())
        async with second.holds(phone):
            pass  # somebody had it meanwhile, and gave it back
        # All of them saw the same, and think that they may take it.
        mine = [lease_note._mine(f"phone-{n}", seen) for n in range(8)]
        made = [lease_note._made(phone.as_phone(), seen, me) for me in mine]
        assert sum(await asyncio.gather(*made)) == 0
        seen = await look(phone.as_phone())
        made = [lease_note._made(phone.as_phone(), seen, me) for me in mine]
        assert sum(await asyncio.gather(*made)) == 1
        taken = await look(phone.as_phone())
        assert taken.number == seen.number + 1
        assert taken.held

    asyncio.run(main())


def test_a_host_without_a_sign_is_overtaken_and_finds_out(
    phone: ShellPhone, hosts: tuple[Host, Host]
) -> None:
    first, second = hosts
    said: list[str] = []

    async def main() -> None:
        note = await abandoned(first, phone)
        phone.wait_until(1000 + EXPIRY_SECONDS - 1)
        with pytest.raises(HeldElsewhereError):
            async with second.holds(phone):
                raise AssertionError
        phone.wait_until(1000 + EXPIRY_SECONDS)
        async with second.holds(phone, said) as later:
            assert later.number > note.number
            taken = await note.overtaken()
            assert taken == (
                "another run took the phone over: its lease had number 1, the one of now has 2"
            )
            with pytest.raises(LeaseLostError, match="another run took the phone over"):
                await first.phone.run("touch /data/local/tmp/not-any-more")
            await note.free()  # what is not its own any more stays
            assert await later.overtaken() is None
        assert await note.overtaken() == taken

    asyncio.run(main())
    assert len(said) == 1
    assert said[0].startswith("taking the phone from run of first on ")
    assert said[0].endswith(": no sign for 300 s")


def test_a_host_that_gives_signs_keeps_the_phone(
    phone: ShellPhone, hosts: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_note, "BEAT_SECONDS", 0.01)
    first, second = hosts

    async def main() -> None:
        async with first.holds(phone) as note:
            phone.wait_until(1000 + 2 * EXPIRY_SECONDS)
            async with asyncio.timeout(10):
                while not (await look(phone.as_phone())).held:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            with pytest.raises(HeldElsewhereError):
                async with second.holds(phone):
                    raise AssertionError
            assert await note.overtaken() is None

    asyncio.run(main())
    assert phone.names() == ["2"]


def test_what_a_killed_run_left_is_taken_at_once_by_the_next_of_its_host(
    phone: ShellPhone, hosts: tuple[Host, Host]
) -> None:
    first, second = hosts

    async def main() -> None:
        await abandoned(first, phone)
        with pytest.raises(HeldElsewhereError):
            async with second.holds(phone):
                raise AssertionError
        async with first.holds(phone) as note:
            assert note.number == 2

    asyncio.run(main())


def test_a_phone_that_restarted_waits_for_a_sign_as_long_as_ever(
    phone: ShellPhone, hosts: tuple[Host, Host]
) -> None:
    first, second = hosts

    async def main() -> None:
        await abandoned(first, phone)
        phone.boot(2, uptime=EXPIRY_SECONDS - 1)
        with pytest.raises(HeldElsewhereError):
            async with second.holds(phone):
                raise AssertionError
        phone.wait_until(EXPIRY_SECONDS)
        async with second.holds(phone):
            pass

    asyncio.run(main())


def test_a_note_that_somebody_removed_is_a_lost_lease(
    phone: ShellPhone, hosts: tuple[Host, Host]
) -> None:
    async def main() -> None:
        async with hosts[0].holds(phone) as note:
            (phone.notes / "1").unlink()
            assert "is gone" in str(await note.overtaken())
        async with hosts[0].holds(phone) as note:
            shutil.rmtree(phone.notes)
            assert "somebody removed" in str(await note.overtaken())

    asyncio.run(main())
    assert not phone.notes.exists()


def test_a_phone_that_does_not_answer_is_nobody_elses_for_a_while(
    phone: ShellPhone, hosts: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with hosts[0].holds(phone) as note:
            hosts[0].phone.gone = True
            assert await note.overtaken() is None
            monkeypatch.setattr(lease_note, "EXPIRY_SECONDS", 0.0)
            assert "has not confirmed its lease for 0 s" in str(await note.overtaken())
            hosts[0].phone.gone = False
            assert await note.overtaken() is None

    asyncio.run(main())


def test_a_phone_that_takes_no_note_is_the_labs_fault(
    phone: ShellPhone, hosts: tuple[Host, Host]
) -> None:
    phone.notes.write_text("in the way")

    async def main() -> None:
        with pytest.raises(DeviceLostError, match="cannot be noted on the phone"):
            async with hosts[0].holds(phone):
                raise AssertionError

    asyncio.run(main())


def test_a_phone_that_tells_no_time_is_the_labs_fault(
    phone: ShellPhone, hosts: tuple[Host, Host]
) -> None:
    (phone.folder / "uptime").write_text("nonsense\n")

    async def main() -> None:
        with pytest.raises(DeviceLostError, match="does not tell who holds it"):
            async with hosts[0].holds(phone):
                raise AssertionError

    asyncio.run(main())


def test_a_phone_that_does_not_tell_its_boot_is_leased_all_the_same(
    phone: ShellPhone, hosts: tuple[Host, Host]
) -> None:
    (phone.folder / "boot_id").unlink()

    async def main() -> None:
        async with hosts[0].holds(phone):
            assert (await look(phone.as_phone())).now.boot == "-"
            with pytest.raises(HeldElsewhereError):
                async with hosts[1].holds(phone):
                    raise AssertionError

    asyncio.run(main())
