"""The roles on a whole system: a fresh Debian in a container that is controller and host at once.

    ./lab setup --ansible && .venv/bin/python -m pytest tests/ansible -m container

Needs root, debootstrap, systemd-container, about 20 minutes, 4 GB of disk and 6 of memory. Each
test goes on where the one before ended, so run the file as a whole.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
import urllib.request
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
import yaml

from harness.emulation.limits import Limits, find_limiter
from tests.ansible.container import (
    COMMAND_S,
    POLL_S,
    Container,
    booted,
    make_root,
    missing_tools,
    remove_root,
)
from tests.ansible.rendering import ANSIBLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

T = TypeVar("T")

pytestmark = [pytest.mark.integration, pytest.mark.container]

ROOT = ANSIBLE.parent
PROGRAMS = ROOT / ".venv-ansible/bin"
MEMORY = 6 << 30
RUN_S = 900
PASSWORD = "0123456789abcdef"  # noqa: S105 - nobody's
HOME = "/var/lib/tierlab"
WORKER = "tierlab-worker@box-desktop.service"
# Of who runs this, how packages are reached.
INSTALLING = re.compile(r"^(PIP_(?!FIND_LINKS).*|HTTPS?_PROXY|NO_PROXY|SSL_CERT_.*|NODE_.*_CERTS)$")


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab of one machine, and its inventory."""

    box: Container
    inventory: Path

    @property
    def variables(self) -> dict[str, Any]:
        """Those of the only host."""
        found: dict[str, Any] = yaml.safe_load(self.inventory.read_text())["all"]["vars"]
        return found

    def change(self, **variables: Any) -> None:
        """Write other variables into the inventory."""
        hosts = {"hosts": {"box": None}}
        all_of_it = {
            "vars": self.variables | variables if self.inventory.exists() else variables,
            "children": {"lab_controller": hosts, "lab_hosts": hosts},
        }
        self.inventory.write_text(json.dumps({"all": all_of_it}))

    def play(self, *options: str) -> dict[str, int]:
        """Run the playbook; what Ansible counted."""
        done = subprocess.run(
            [PROGRAMS / "ansible-playbook", "-i", self.inventory, "site.yml", *options],
            cwd=ANSIBLE,
            env={**os.environ, "ANSIBLE_LOCALHOST_WARNING": "0", "ANSIBLE_NOCOLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_S,
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        (recap,) = re.findall(r"^box +: (.*)$", done.stdout, re.MULTILINE)
        return {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", recap)}

    def records(self, results: str) -> list[tuple[str, str, str]]:
        """Run, profile and verdict of what a store of the box holds."""
        code = (
            "import json, sys; from pathlib import Path; from results.store import Store\n"
            "with Store.open(Path(sys.argv[1])) as store: print(json.dumps("
            "[(r.run_id, r.device.profile, r.verdict) for r in store.records()]))"
        )
        python = "/opt/tierlab/current/.venv/bin/python"
        said = self.box.run(
            "setpriv", "--reuid=tierlab", "--clear-groups", python, "-c", code, results
        )
        return [tuple(one) for one in json.loads(said.stdout)]


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(closing(socket.socket())) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def wait_for(what: Callable[[], T | None], seconds: float, name: str) -> T:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(POLL_S)
    raise AssertionError(f"{name}: not within {seconds:g} s")


def get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        text: str = answer.read().decode()
        return text


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if missing := missing_tools():
        pytest.fail(f"a container cannot be made; it needs: {missing}")
    if not (PROGRAMS / "ansible-playbook").exists():
        pytest.fail("Ansible is not installed; ./lab setup --ansible installs it")
    folder = tmp_path_factory.mktemp("lab")
    root = folder / "root"
    os.environ["TIERLAB_STATE"] = str(folder / "state")
    try:
        make_root(root)
        with (
            find_limiter().scope("container", Limits(memory_bytes=MEMORY)) as scope,
            booted(root, scope.prefix) as box,
        ):
            made = Lab(box, folder / "inventory.yml")
            adb, master, web, site = free_ports(4)
            made.change(
                ansible_connection="community.general.chroot",
                ansible_host=str(root),
                ansible_chroot_exe=str(box.enter),
                ansible_chroot_disable_root_check=True,
                ansible_python_interpreter="/usr/bin/python3",
                ansible_become=False,
                tierlab_adb_port=adb,
                tierlab_fleet_password=PASSWORD,
                tierlab_install_environment={
                    name: value for name, value in os.environ.items() if INSTALLING.match(name)
                },
                lab_host_devices=[{"name": "box-desktop", "profile": "desktop"}],
                lab_controller_site_port=site,
                lab_controller_web_password=PASSWORD,
                schedule_controller={
                    "port": master, "web_port": web, "results": f"{HOME}/lab-results",
                    "collect_every": "20s",
                },
                schedule_schedules={
                    "smoke": {
                        "at": "02:00", "models": ["gemma-3-270m"],
                        "runtimes": ["onnxruntime-web/wasm"], "deadline": "30m",
                    }
                },
            )  # fmt: skip
            yield made
    finally:
        remove_root(root)


def test_ansible_lint_has_nothing_to_say() -> None:
    done = subprocess.run(
        [PROGRAMS / "ansible-lint", "--offline", "--profile", "production", "--strict"],
        cwd=ANSIBLE,
        env={**os.environ, "PATH": f"{PROGRAMS}:{os.environ['PATH']}", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_check_mode_on_a_fresh_system_changes_nothing(lab: Lab) -> None:
    assert lab.play("--check")["changed"] > 0
    for path in ("etc/tierlab", "opt/tierlab", "var/lib/tierlab", "usr/bin/chromium"):
        assert not (lab.box.root / path).exists()


def is_active(lab: Lab, unit: str) -> bool:
    return lab.box.says("systemctl", "is-active", unit) == "active"


def test_a_fresh_system_becomes_a_lab(lab: Lab) -> None:
    assert lab.play()["failed"] == 0
    for unit in (
        "tierlab.target", "tierlab-adb.service", "tierlab-controller.service", WORKER,
        "tierlab-backup.timer", "tierlab-matrix.timer", "nginx.service",
    ):  # fmt: skip
        assert lab.box.says("systemctl", "is-enabled", unit) == "enabled", unit
        # A first run ends by starting all of it once more, and a worker that comes to a master
        # which is not quite there is told to go, and comes again after 15 s.
        wait_for(partial(is_active, lab, unit), 60, f"{unit} is active")
    assert lab.box.says("systemctl", "--failed", "--plain", "--no-legend") == ""


def test_again_nothing_is_changed(lab: Lab) -> None:
    assert lab.play()["changed"] == 0
    assert lab.play("--check")["changed"] == 0


def test_secrets_are_private(lab: Lab) -> None:
    said = lab.box.says("sh", "-c", "cd /etc/tierlab/secrets && stat -c '%a %U %n' . *")
    assert said.splitlines() == [
        "700 tierlab .", "600 tierlab fleet-password", "600 tierlab web-password",
    ]  # fmt: skip
    found = lab.box.says("grep", "-rlsF", PASSWORD, "/etc", HOME, "/run/systemd")
    assert sorted(found.splitlines()) == [
        "/etc/tierlab/secrets/fleet-password", "/etc/tierlab/secrets/web-password",
    ]  # fmt: skip


def test_the_worker_has_come_to_the_master(lab: Lab) -> None:
    port = lab.variables["schedule_controller"]["web_port"]

    def connected() -> bool:
        try:
            workers = json.loads(get(port, "/api/v2/workers"))["workers"]
        except OSError:  # the master is still starting
            return False
        return [bool(one["connected_to"]) for one in workers if one["name"] == "box-desktop"] == [
            True
        ]

    wait_for(connected, 120, "the worker of box-desktop at the master")


def test_a_run_that_systemd_starts_records_a_trial(lab: Lab) -> None:
    lab.box.run("systemctl", "start", "tierlab-schedule@smoke.service")
    records = lab.records(f"{HOME}/tierlab-results")
    assert [(profile, verdict) for _, profile, verdict in records] == [("desktop", "ok")], (
        lab.box.says("journalctl", "--no-pager", "-u", "tierlab-schedule@smoke.service")
    )


def test_a_run_at_its_time_arrives_at_the_controller(lab: Lab) -> None:
    (before,) = {run for run, _, _ in lab.records(f"{HOME}/tierlab-results")}
    at = datetime.now(UTC) + timedelta(minutes=3)
    schedules = lab.variables["schedule_schedules"]
    schedules["smoke"]["at"] = f"{at:%H:%M}"
    lab.change(schedule_schedules=schedules)
    assert lab.play("--tags", "schedule")["changed"] > 0

    def arrived() -> list[tuple[str, str, str]]:
        there = lab.records(f"{HOME}/lab-results")
        return [record for record in there if record[0] != before]

    ((_, profile, verdict),) = wait_for(arrived, RUN_S, "the record at the controller")
    assert (profile, verdict) == ("desktop", "ok")


def test_the_matrix_is_served(lab: Lab) -> None:
    lab.box.run("systemctl", "start", "tierlab-matrix.service")
    page = get(lab.variables["lab_controller_site_port"], "/")
    assert "gemma-3-270m" in page.lower()


def test_a_copy_brings_back_what_was_lost(lab: Lab) -> None:
    results = f"{HOME}/lab-results"
    before = lab.records(results)
    lab.box.run("systemctl", "start", "tierlab-backup.service")
    archive = lab.box.says("sh", "-c", "ls /var/backups/tierlab/*.tar.gz")
    lab.box.run("systemctl", "stop", "tierlab.target", "tierlab-*")
    lab.box.run("rm", "-r", results, f"{HOME}/master")
    lab.box.run(
        "setpriv", "--reuid=tierlab", "--regid=tierlab", "--clear-groups",
        "/opt/tierlab/backup", "restore", archive,
        "--results", results, "--master", f"{HOME}/master",
    )  # fmt: skip
    lab.box.run("systemctl", "start", "tierlab.target")
    assert lab.records(results) == before
    assert (
        "nothing is wrong" in lab.box.run("tierlab", "store", "check", "--results", results).stdout
    )
    test_the_worker_has_come_to_the_master(lab)


def test_a_device_that_left_the_inventory_has_no_worker(lab: Lab) -> None:
    lab.change(lab_host_devices=[{"name": "box-other", "profile": "desktop"}])
    lab.play("--tags", "schedule,host")
    assert lab.box.says("systemctl", "is-active", WORKER) == "inactive"
    assert lab.box.says("systemctl", "is-active", "tierlab-worker@box-other.service") == "active"
    assert lab.play("--tags", "schedule,host")["changed"] == 0


def test_without_a_controller_timers_start_the_schedules(lab: Lab) -> None:
    lab.change(lab_host_standalone=True)
    lab.play("--tags", "schedule,host")
    assert lab.box.says("systemctl", "is-active", "tierlab-schedule-smoke.timer") == "active"
    assert lab.box.says("systemctl", "is-active", "tierlab-worker@box-other.service") == "inactive"
    assert lab.play("--tags", "schedule,host")["changed"] == 0
