"""The package as npm would publish it."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
from typing import Any

import pytest

from tests.harness.probe.node import PACKAGE, evaluated, program

MANIFEST = json.loads((PACKAGE / "package.json").read_text())
TYPES = (PACKAGE / "index.d.ts").read_text()
SCRIPTS = sorted(path.name for path in PACKAGE.glob("*.js"))
DATA = {"kernels.wasm", "catalogue.json", "calibration.json"}
NOT_FETCHED = {"README.md", "index.d.ts", "package.json"}
LARGEST = 64 * 1024


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `npm pack` says it would publish."""
    done = subprocess.run(
        [
            program("npm"), "pack", "--dry-run", "--json", "--ignore-scripts",
            "--cache", str(tmp_path_factory.mktemp("npm")), str(PACKAGE),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)[0]
    return found


def test_exactly_what_a_page_needs_is_published(packed: dict[str, Any]) -> None:
    wanted = {*SCRIPTS, *(name for name in DATA if (PACKAGE / name).exists())}
    assert {file["path"] for file in packed["files"]} == {
        *wanted,
        "index.d.ts",
        "package.json",
        "README.md",
    }


def test_it_is_small_when_compressed(packed: dict[str, Any]) -> None:
    # What a page fetches, each file alone as a server compresses it; and the archive as a whole.
    fetched = {file["path"] for file in packed["files"]} - NOT_FETCHED
    assert sum(len(gzip.compress((PACKAGE / name).read_bytes())) for name in fetched) <= LARGEST
    assert packed["size"] <= LARGEST


def test_it_depends_on_nothing() -> None:
    assert not {"dependencies", "peerDependencies", "optionalDependencies"} & set(MANIFEST)
    for name in SCRIPTS:
        text = (PACKAGE / name).read_text()
        imported = re.findall(r"(?:from|import)\s*\(?\s*[\"']([^\"']+)[\"']", text)
        local = {item for item in imported if item.removeprefix("./") in {*SCRIPTS, "index.d.ts"}}
        assert set(imported) == local, name
        assert not re.search(r"https?://", text), name


def targets(exports: dict[str, Any]) -> set[str]:
    values = [value if isinstance(value, dict) else {"it": value} for value in exports.values()]
    return {path for value in values for path in value.values()}


def test_every_entry_is_published(packed: dict[str, Any]) -> None:
    files = {file["path"] for file in packed["files"]} | DATA
    for path in targets(MANIFEST["exports"]) | {MANIFEST["main"], MANIFEST["types"]}:
        assert path.removeprefix("./") in files


def test_a_server_may_import_it_and_gets_a_report_too() -> None:
    report = evaluated(
        """
        const { preflight } = await import("./preflight.js");
        return preflight({ model: "gemma-2b", catalogue, calibration: null });
        """,
        catalogue=json.loads((PACKAGE / "catalogue.json").read_text()),
    )
    assert report["verdict"] in {"unknown", "unsupported"}
    assert report["probe"]["backends"]["wasm"]["available"] is False


def exported(name: str) -> set[str]:
    """The names that a module exports."""
    text = (PACKAGE / name).read_text()
    names = set(
        re.findall(r"^export (?:async )?(?:function|const|class) (\w+)", text, re.MULTILINE)
    )
    for block in re.findall(r"^export \{([^}]+)\}", text, re.MULTILINE):
        names |= {part.split(" as ")[-1].strip() for part in block.split(",")}
    return names


def test_all_exports_are_declared_and_all_declared_are_exported() -> None:
    declared = set(re.findall(r"^export (?:function|const|class) (\w+)", TYPES, re.MULTILINE))
    assert exported("preflight.js") == declared
    assert exported("index.js") <= declared


def test_the_types_name_nothing_that_is_not_there() -> None:
    plain = re.sub(r"/\*.*?\*/|//[^\n]*|\"[^\"]*\"", "", TYPES, flags=re.DOTALL)
    known = set(re.findall(r"(?:interface|type) (\w+)", plain))
    built_in = {"Record", "Promise", "Partial", "Pick", "AbortSignal"}
    assert set(re.findall(r"\b[A-Z][A-Za-z]+\b", plain)) <= known | built_in


def test_the_readme_tells_every_option() -> None:
    readme = (PACKAGE / "README.md").read_text()
    for name in ("SurveyOptions", "PreflightOptions", "RecommendOptions", "MemoryProbeOptions"):
        body = re.search(rf"interface {name}[^{{]*\{{(.*?)^\}}", TYPES, re.DOTALL | re.MULTILINE)
        assert body is not None
        for option in re.findall(r"^  (\w+)\??:", body.group(1), re.MULTILINE):
            assert f"`{option}`" in readme, option
