"""The roles as files: they parse, their templates render, secrets stay where they belong."""

from __future__ import annotations

import re
import stat
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UserError
from harness.fleet.loading import load_fleet
from tests.ansible.rendering import (
    ANSIBLE,
    ROLES,
    SECRET,
    Variables,
    inventory,
    render,
    variables_of,
    yaml_of,
)

if TYPE_CHECKING:
    from pathlib import Path

YAML = sorted(ANSIBLE.rglob("*.yml"))
TEMPLATES = sorted(ANSIBLE.glob("roles/*/templates/*.j2"))
ITEM = {"key": "smoke", "name": "matrix", "calendar": "hourly", "value": {"at": "02:00"}}


def rendered(path: Path, variables: Variables) -> str:
    return render(path.parent.parent.name, path.name, variables, item=ITEM)


@pytest.fixture(scope="module")
def variables() -> Variables:
    return variables_of("lab-1", tierlab_influx_url="http://influx.example:8086")


def tasks_of(role: str) -> list[dict[str, Any]]:
    """All tasks of a role, those in blocks too."""

    def flat(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        inner = [task.get(key, []) for task in tasks for key in ("block", "always", "rescue")]
        return [*tasks, *(one for some in inner for one in flat(some))]

    return [
        task
        for path in (ANSIBLE / "roles" / role / "tasks").glob("*.yml")
        for task in flat(yaml_of(path))
    ]


@pytest.mark.parametrize("path", YAML, ids=lambda path: str(path.relative_to(ANSIBLE)))
def test_it_is_yaml(path: Path) -> None:
    assert yaml.safe_load(path.read_text())


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_renders_with_what_the_roles_define(path: Path, variables: Variables) -> None:
    text = rendered(path, variables)
    assert text.strip()
    assert "{{" not in text
    assert "{%" not in text


@pytest.mark.parametrize("role", ROLES)
def test_the_variables_of_a_role_are_named_after_it(role: str) -> None:
    for name in yaml_of(ANSIBLE / "roles" / role / "defaults/main.yml"):
        assert name.startswith(f"{role}_")


@pytest.mark.parametrize("role", ROLES)
def test_each_file_and_template_that_a_task_names_is_there(role: str) -> None:
    for task in tasks_of(role):
        for module, folder in (("template", "templates"), ("copy", "files")):
            source = task.get(f"ansible.builtin.{module}", {}).get("src", "")
            if not source:
                continue
            names = [source.replace("{{ item }}", word) for word in task.get("loop", [""])]
            if "{{ item }}" not in source:
                names = [source]
            for name in names:
                assert (ANSIBLE / "roles" / role / folder / name).is_file(), (role, name)


# ---- secrets ----


def test_secrets_are_written_into_private_files_only(variables: Variables) -> None:
    values = {
        "tierlab_fleet_password": SECRET,
        "tierlab_influx_token": SECRET,
        "lab_controller_web_password": SECRET,
        "lab_controller_grafana_influx_token": SECRET,
    }
    with_secret = {path.name for path in TEMPLATES if SECRET in rendered(path, variables | values)}
    assert with_secret == {"grafana.env.j2"}
    named = re.compile("|".join(values))
    writers = [
        (role, task)
        for role in ROLES
        for task in tasks_of(role)
        if named.search(str(task.get("ansible.builtin.copy", "")) + str(task.get("vars", "")))
        or task.get("ansible.builtin.template", {}).get("src") in with_secret
    ]
    assert len(writers) == 3
    for role, task in writers:
        written = task.get("ansible.builtin.copy") or task["ansible.builtin.template"]
        assert written["mode"] == "0600", (role, task["name"])
        assert task["no_log"] is True, (role, task["name"])


def test_the_example_takes_its_secrets_from_the_environment_or_a_vault() -> None:
    main = (ANSIBLE / "inventory/example/group_vars/all/main.yml").read_text()
    for name in yaml_of(ANSIBLE / "inventory/example/group_vars/all/secrets.yml.example"):
        assert re.search(rf"^{name}: \"{{{{ lookup\('ansible\.builtin\.env', ", main, re.MULTILINE)


# ---- fleet.toml ----


def test_the_example_gives_a_sound_fleet(tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text(render("schedule", "fleet.toml.j2", variables_of("controller")))
    fleet = load_fleet(file)
    assert [(device.host, device.name) for device in fleet.devices] == [
        (host, device["name"])
        for host, variables in inventory().items()
        for device in variables.get("lab_host_devices", [])
        if host != "controller"
    ]
    (first, *_) = fleet.devices
    assert first.power_cycle[0] == "uhubctl"
    assert first.properties == {"owner": "web-team", "shelf": 3}
    assert set(fleet.schedules) == {"smoke", "full-matrix"}
    assert fleet.controller.results.is_absolute()


def test_a_key_that_fleet_toml_does_not_know_is_refused(tmp_path: Path) -> None:
    given = {"schedule_schedules": {"smoke": {"att": "02:00", "models": ["gemma-2b"]}}}
    file = tmp_path / "fleet.toml"
    file.write_text(render("schedule", "fleet.toml.j2", variables_of("controller", **given)))
    with pytest.raises(UserError, match="att"):
        load_fleet(file)


@settings(deadline=None)
@given(
    serial=st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\x7f"), min_size=1, max_size=64
    ),
    words=st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=9), max_size=3),
)
def test_any_text_arrives_as_it_is(serial: str, words: list[str]) -> None:
    device = {"name": "a", "profile": "pixel7", "serial": serial, "power_cycle": words}
    variables = {
        "ansible_managed": "by the test",
        "groups": {"lab_hosts": ["lab-1"]},
        "hostvars": {"lab-1": {"lab_host_devices": [device]}},
        "schedule_controller": {},
        "schedule_schedules": {},
        "schedule_retries": {},
    }
    read = tomllib.loads(render("schedule", "fleet.toml.j2", variables))
    assert read["devices"] == [{"host": "lab-1", **device}]


# ---- files ----


@pytest.mark.parametrize("name", ["lab_host/files/in-subgroup", "lab_controller/files/backup.py"])
def test_programs_can_be_started(name: str) -> None:
    assert (ANSIBLE / "roles" / name).stat().st_mode & stat.S_IXUSR


def test_the_rules_of_udev_are_for_known_vendors_and_for_debugging_only(
    variables: Variables,
) -> None:
    text = rendered(ANSIBLE / "roles/lab_host/templates/android.rules.j2", variables)
    rules = [line for line in text.splitlines() if line.startswith("ATTR")]
    pattern = r'ATTR\{idVendor\}=="([0-9a-f]{4})", MODE="0660", GROUP="plugdev", TAG\+="uaccess"'
    vendors = [found[1] for rule in rules if (found := re.fullmatch(pattern, rule))]
    assert len(vendors) == len(rules) == len(set(vendors))
    assert {"18d1", "04e8", "2717"} < set(vendors)
    # What is no phone with debugging on has left before the first vendor.
    assert text.index('ENV{ID_USB_INTERFACES}!="*:ff420[13]:*", GOTO=') < text.index(rules[0])
    for label in set(re.findall(r'GOTO="(\w+)"', text)):
        assert text.count(f'LABEL="{label}"') == 1
