"""The roles' templates as Ansible renders them, without Ansible.

It is not installed where the quick tests run. What the templates use of it is little: variables
that refer to each other, and a few filters, which are here by the same names.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from jinja2 import ChainableUndefined, Environment, FileSystemLoader, StrictUndefined
from jinja2.nativetypes import NativeEnvironment

ANSIBLE: Final = Path(__file__).parent.parent.parent / "ansible"
ROLES: Final = ("tierlab", "schedule", "lab_host", "lab_controller")
SECRET: Final = "a-secret-of-the-tests"  # noqa: S105 - nobody's

_DEPTH: Final = 5

Variables = dict[str, Any]

FILTERS: Final = {
    "to_json": json.dumps,
    "combine": lambda one, two: {**one, **two},
    "bool": lambda value: str(value).lower() in {"true", "yes", "1"},
    "basename": lambda path: Path(path).name,
    "dirname": lambda path: str(Path(path).parent),
    "dict2items": lambda value: [{"key": key, "value": one} for key, one in value.items()],
    "regex_replace": lambda text, old, new: re.sub(old, new, text),
}


def yaml_of(path: Path) -> Any:
    return yaml.safe_load(path.read_text()) or {}


def inventory(folder: Path = ANSIBLE / "inventory/example") -> dict[str, Variables]:
    """The variables of each host of an inventory: of all hosts, then its own."""
    common: Variables = {}
    for path in sorted((folder / "group_vars/all").glob("*.yml")):
        common |= yaml_of(path)
    hosts: dict[str, Variables] = {}
    for group in yaml_of(folder / "hosts.yml")["all"]["children"].values():
        for name in group["hosts"]:
            own = folder / "host_vars" / f"{name}.yml"
            hosts[name] = common | (yaml_of(own) if own.exists() else {})
    return hosts


def groups(folder: Path = ANSIBLE / "inventory/example") -> dict[str, list[str]]:
    children = yaml_of(folder / "hosts.yml")["all"]["children"]
    return {name: list(group["hosts"]) for name, group in children.items()}


def resolve(variables: Variables) -> Variables:
    """Variables whose values may name others, until none does any more."""
    jinja = NativeEnvironment(undefined=ChainableUndefined)
    jinja.filters.update(FILTERS)

    def rendered(value: Any) -> Any:
        if isinstance(value, str) and "{{" in value:
            return jinja.from_string(value.strip()).render(variables)
        if isinstance(value, list):
            return [rendered(one) for one in value]
        if isinstance(value, dict):
            return {key: rendered(one) for key, one in value.items()}
        return value

    for _ in range(_DEPTH):
        again = {name: rendered(value) for name, value in variables.items() if "{{" in repr(value)}
        if not again:
            break
        variables = variables | again
    return variables


def variables_of(host: str, **given: Any) -> Variables:
    """What a role sees of one host of the example: defaults, inventory, then the role's own."""
    found: Variables = {}
    for role in ROLES:
        found |= yaml_of(ANSIBLE / "roles" / role / "defaults/main.yml")
    hosts = inventory()
    found |= hosts[host]
    for role in ROLES:
        path = ANSIBLE / "roles" / role / "vars/main.yml"
        found |= yaml_of(path) if path.exists() else {}
    return resolve(
        found
        | {
            "ansible_managed": "Ansible managed",
            "inventory_hostname": host,
            "playbook_dir": str(ANSIBLE),
            "groups": groups(),
            "hostvars": hosts,
            "lookup": lambda _plugin, name: f"{SECRET}-{name}",
            "tierlab_release": "/opt/tierlab/releases/0123456789ab",
        }
        | given
    )


@cache
def _templates(role: str) -> Environment:
    """The settings that Ansible has; a name that is not defined is an error."""
    jinja = Environment(  # noqa: S701 - no page of HTML
        loader=FileSystemLoader(ANSIBLE / "roles" / role / "templates"),
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    jinja.filters.update(FILTERS)
    return jinja


def render(role: str, template: str, variables: Variables, **more: Any) -> str:
    """One template of a role. The last line ends as all do; what is included has no such end."""
    return _templates(role).get_template(template).render(variables | more) + "\n"
