"""A program on a virtual phone, through a real adb server: measured, unplugged, removed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from harness.devices.android.binary.cores import fast_cores
from harness.devices.android.binary.kinds import BinarySpec, Parameters
from harness.devices.android.binary.model_file import describe_model
from harness.devices.android.binary.staging import PREFIX, ROOT, sweep
from harness.devices.android.binary.trials import binary_trials
from harness.devices.android.private import private_server
from harness.devices.base import Gate, HostFacts
from harness.emulation.phone.start import virtual_phone
from harness.profiles import load_profiles
from results.record import Record, Verdict

if TYPE_CHECKING:
    from harness.devices.android.adb import Phone
    from harness.emulation.phone.start import VirtualPhone
    from harness.profiles import Profile

pytestmark = pytest.mark.integration
DATA = Path(__file__).parent / "data"
# Seconds; no other program sleeps for so many.
FOR_EVER = "31415"
CASES = (
    Parameters(16, 8, threads=1),
    Parameters(16, 8, threads=2, prefill_batch=8, context_tokens=64),
)


class Device:
    """As much of a device as a program needs."""

    def __init__(self, profile: Profile, phone: Phone) -> None:
        self.profile = profile
        self.phone = phone
        self.recoveries = 0

    async def facts(self) -> HostFacts:
        return HostFacts(
            "panther", "Android 15", "Tensor G2", 8, 8 << 30, "chrome", "150", emulated=True
        )

    async def gates(self) -> list[Gate]:
        return []

    async def rest(self) -> bool:
        return True

    async def recover(self) -> None:
        self.recoveries += 1
        assert await self.phone.wait_until_back(within=60)


def program(folder: Path) -> BinarySpec:
    """Prints what a real llama-bench printed; with one thread it waits to be unplugged, once."""
    lines = (DATA / "llama-bench.jsonl").read_text(encoding="utf-8")
    path = folder / "llama-bench"
    path.write_text(
        "#!/system/bin/sh\n"
        'case "$1" in --help) echo "-m -p -n -t -r -o -b -ub -d -ngl"; exit 0;; esac\n'
        # Of the first directory that it runs in, the mark outlives it.
        f'if [ "$8" = 1 ] && [ ! -e {ROOT}/seen ]; then touch {ROOT}/seen; sleep {FOR_EVER}; fi\n'
        f"cat <<'END'\n{lines}END\n"
    )
    model = folder / "tiny-q8_0.gguf"
    model.write_bytes(b"GGUF\x03\0\0\0" + bytes(16))
    return BinarySpec(path, model)


async def unplug_when_seen(virtual: VirtualPhone, phone: Phone) -> None:
    while (await phone.run(f"ls {ROOT}/seen", check=False)).exit_code:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    await virtual.control("unplug", seconds=1.0)


def test_a_program_is_measured_and_a_phone_that_is_unplugged_is_tried_again(tmp_path: Path) -> None:
    profile, kept = load_profiles()["pixel7"], list[Record]()

    async def work() -> None:
        spec = program(tmp_path)
        async with (
            asyncio.timeout(120),
            private_server() as adb,
            virtual_phone(profile, work=tmp_path / "work") as virtual,
        ):
            await adb.connect(virtual.address)
            phone = adb.phone(virtual.address)
            assert await fast_cores(phone) >= 1
            device = Device(profile, phone)
            unplug = asyncio.create_task(unplug_when_seen(virtual, phone))
            found = await binary_trials(
                device,
                spec,
                describe_model(spec.model),
                CASES,
                run_id="r",
                results=tmp_path,
                within=60.0,
                keep=kept.append,
            )
            await unplug
            assert device.recoveries == 1
            assert set(found) == set(CASES)
            left = await phone.run(f"ls -d {ROOT}/{PREFIX}*", check=False)
            assert left.exit_code, f"left on the phone: {left.text}"
            assert await sweep(phone) == []
            commands = [process.info["cmdline"] for process in psutil.process_iter(["cmdline"])]
            assert ["sleep", FOR_EVER] not in commands, "the program goes on on the phone"

    asyncio.run(work())
    assert [record.verdict for record in kept] == [Verdict.INFRA, Verdict.OK, Verdict.OK]
    assert kept[0].cause == "transport-lost"
    assert kept[0].tiers.pair is None
    for record in kept[1:]:
        assert record.device.emulated
        assert record.workload.runtime == "llama.cpp/android-cpu"
        assert record.measurement is not None
        assert record.measurement.prefill_tokens_per_s == pytest.approx(21.9613)
        assert record.measurement.decode_ms is not None
        assert record.measurement.decode_ms.n == 3
        native = record.conditions.facts["native"]
        assert isinstance(native, dict)
        assert native["linked"] == "a shell script"
        assert (tmp_path / record.files["binary-stdout.txt"]).read_text().startswith("{")
    assert kept[2].conditions.threads == 2
    assert Record.model_validate_json(kept[2].model_dump_json()) == kept[2]
