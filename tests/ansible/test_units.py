"""The units as systemd reads them: verified, and how exposed each service is."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.ansible.rendering import ANSIBLE, render, variables_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        shutil.which("systemd-analyze") is None,
        reason="systemd-analyze, which reads units, is missing",
    ),
]
DEADLINE_S = 60
# systemd-analyze security: 0 is no exposure, 10 is all. What drives devices is exposed the most.
MOST_EXPOSED = {
    "tierlab-worker@.service": 3.0,
    "tierlab-schedule@.service": 3.0,
    "tierlab-adb.service": 3.0,
    "tierlab-controller.service": 1.5,
    "tierlab-matrix.service": 1.5,
    "tierlab-backup.service": 1.5,
    "tierlab-outbox.service": 1.5,
}


def analyze(*words: str | Path) -> str:
    done = subprocess.run(
        ["systemd-analyze", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All units of a lab in one folder, with programs in the places that they name."""
    root = tmp_path_factory.mktemp("units")
    variables: dict[str, Any] = variables_of(
        "lab-1",
        tierlab_prefix=str(root / "opt"),
        tierlab_influx_url="http://influx.example:8086",
        lab_host_standalone=True,
        lab_host_memory_max="12G",
    )
    for name in ("opt/in-subgroup", "opt/backup", "opt/current/.venv/bin/tierlab", "adb"):
        program = root / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    for path in sorted(ANSIBLE.glob("roles/*/templates/tierlab*.j2")):
        name = path.name.removesuffix(".j2")
        if path.suffixes[-2:-1] in ([".service"], [".target"]):
            text = render(path.parent.parent.name, path.name, variables)
            (root / name).write_text(text.replace("/usr/bin/adb", str(root / "adb")))
    for item in variables["lab_host_timers"]:
        text = render("lab_host", "tierlab-schedule.timer.j2", variables, item=item)
        (root / f"tierlab-schedule-{item['key']}.timer").write_text(text)
    for item in variables["lab_controller_timers"]:
        text = render("lab_controller", "timer.j2", variables, item=item)
        (root / f"tierlab-{item['name']}.timer").write_text(text)
    return root


def test_systemd_has_nothing_to_say_of_any_unit(units: Path) -> None:
    names = [path for path in units.iterdir() if path.suffix in {".service", ".target", ".timer"}]
    assert len(names) == 8 + 2 + 3
    instances = []
    for path in names:
        made = path.with_name(path.name.replace("@.", "@smoke."))
        if made != path:
            made.write_text(path.read_text())
        instances.append(made)
    said = analyze("verify", "--man=no", *instances)
    assert [line for line in said.splitlines() if str(units) in line or "tierlab" in line] == []


@pytest.mark.parametrize(("name", "most"), MOST_EXPOSED.items())
def test_a_service_is_exposed_no_more_than_it_must_be(units: Path, name: str, most: float) -> None:
    said = analyze("security", "--offline=yes", "--no-pager", units / name)
    (level,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert float(level) <= most, said


def test_the_timers_name_times_that_there_are(units: Path) -> None:
    timers = sorted(units.glob("*.timer"))
    calendars = {
        path.name: re.findall(r"^OnCalendar=(.*)$", path.read_text(), re.MULTILINE)
        for path in timers
    }
    assert calendars["tierlab-schedule-full-matrix.timer"] == ["sat *-*-* 06:00:00"]
    for (calendar,) in calendars.values():
        assert "Next elapse" in analyze("calendar", calendar)
