"""What must hold for the repository as a whole: locks, directions, nothing of one machine."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
# Package indexes and their mirrors: which one is used is the business of the user's configuration.
# Written with blanks for dots, so that this file names none of them either.
_HOSTS = (
    "pypi org|pythonhosted org|npmjs org|npmjs com|yarnpkg com|npmmirror com"
    "|pkg github com|jfrog io"
)
INDEX_HOST = re.compile(
    rf"\b(?:{_HOSTS.replace(' ', '[.]')}|index.url\s*=)",
    re.IGNORECASE,
)


def repository_files() -> list[Path]:
    """The files that are, or will be, in the repository: what git does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    """`file:line: text` for each line of the repository that matches."""
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for path in repository_files()
        for number, line in enumerate(path.read_bytes().decode(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]


def locked(path: Path) -> dict[str, list[Requirement]]:
    """The pins of a requirements file by project name; markers may give a name several."""
    pins: defaultdict[str, list[Requirement]] = defaultdict(list)
    for line in path.read_text().splitlines():
        if line[:1].isalnum():
            pin = Requirement(line.removesuffix("\\"))
            pins[pin.name].append(pin)
    return pins


def wanted_by(path: Path) -> list[str]:
    """The requirements in a `*.in` file."""
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]


def imports_of(source: str) -> set[str]:
    """The top-level packages that a module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


# ---- nothing of one machine ----


def test_no_package_index_is_named() -> None:
    assert lines_with(INDEX_HOST) == []


def test_no_path_of_this_machine_is_named() -> None:
    here = "|".join(re.escape(str(path)) for path in (ROOT, Path.home()) if path != Path("/"))
    assert lines_with(re.compile(rf"(?<![\w.$}}~-])(?:{here})/")) == []


# ---- locks ----


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_every_requirement_is_pinned_by_hash(path: Path) -> None:
    entries = re.split(r"\n(?=[^\s#])", path.read_text())
    assert len(entries) == sum(map(len, locked(path).values()))
    for entry in entries:
        assert re.match(r"[\w.-]+(\[[\w,]+\])?==\S+( ; [^\\]+)? \\\n    --hash=sha256:", entry)


@pytest.mark.parametrize(
    ("lock", "groups"),
    [
        ("run", ["core", "build"]),
        ("native", ["core", "build", "native"]),
        ("dev", ["core", "build", "native", "dev"]),
        ("node", ["node"]),
    ],
)
def test_the_locks_fit_what_is_asked_for(lock: str, groups: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = {
        "core": project["project"]["dependencies"],
        "native": project["project"]["optional-dependencies"]["native"],
        "dev": [
            text
            for text in project["project"]["optional-dependencies"]["dev"]
            if not text.startswith("tierlab[")
        ],
        "build": wanted_by(ROOT / "requirements/build.in") + project["build-system"]["requires"],
        "node": wanted_by(ROOT / "requirements/node.in"),
    }
    pins = locked(ROOT / f"requirements/{lock}.txt")
    for requirement in (Requirement(text) for group in groups for text in asked[group]):
        versions = [str(pin.specifier).removeprefix("==") for pin in pins[requirement.name]]
        assert versions, f"{requirement} is not in {lock}.txt: run requirements/lock.sh"
        assert all(map(requirement.specifier.contains, versions)), f"{requirement}: {versions}"


def test_the_checks_run_with_the_pins_of_the_run() -> None:
    dev = locked(ROOT / "requirements/dev.txt")
    for name, pins in locked(ROOT / "requirements/run.txt").items():
        assert {str(pin.specifier) for pin in dev[name]} == {str(pin.specifier) for pin in pins}


def test_the_npm_lock_has_hashes_and_no_addresses() -> None:
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    root = packages.pop("")
    assert packages
    for name, package in packages.items():
        assert "resolved" not in package, name
        assert package["integrity"].startswith("sha512-"), name
    assert root["dependencies"] == json.loads((ROOT / "package.json").read_text())["dependencies"]


def test_hooks_come_from_no_other_repository() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    assert set(re.findall(r"repo: *(\S+)", text)) == {"local"}


@pytest.mark.parametrize("name", ["lab", ".ci/run", "requirements/lock.sh"])
def test_scripts_can_be_started(name: str) -> None:
    assert os.access(ROOT / name, os.X_OK)


# ---- directions ----


@pytest.mark.parametrize(
    ("source", "imported"),
    [
        ("import harness.models", {"harness"}),
        ("def f():\n    from harness import errors as e, models", {"harness"}),
        ("import json, harness_of_a_horse", {"json", "harness_of_a_horse"}),
        ("from . import harness", set()),
    ],
)
def test_imports_are_found(source: str, imported: set[str]) -> None:
    assert imports_of(source) == imported


def test_results_never_imports_harness() -> None:
    results = ROOT / "results"
    modules = [p for p in repository_files() if p.is_relative_to(results) and p.suffix == ".py"]
    assert modules
    guilty = [path for path in modules if "harness" in imports_of(path.read_text())]
    assert guilty == []
