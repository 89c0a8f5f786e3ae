"""Runs the package's pure modules in Node.js, without a browser."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "harness" / "probe"


def program(name: str) -> str:
    """The path of `node` or `npm`: the system's, else the one that `./lab setup` installed."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}{os.pathsep}{ROOT}/.venv/bin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def evaluated(body: str, **given: Any) -> Any:
    """What the body of an asynchronous function returns; `given` are its variables.

    It may import the package's modules by `./name.js`, with `await import(...)`.
    """
    script = f"""
        import {{ readFileSync }} from "node:fs";
        const {{ {", ".join(given)} }} = JSON.parse(readFileSync(0, "utf8"));
        const result = await (async () => {{ {body} }})();
        console.log(JSON.stringify(result ?? null));
    """
    done = subprocess.run(
        [program("node"), "--input-type=module", "--eval", script],
        cwd=PACKAGE,
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
