"""The suite of native apps: collected where an app is named, and run against a virtual phone."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from harness.checkout import SUITES
from results.record import Verdict
from results.store import Store

if TYPE_CHECKING:
    from pathlib import Path


def run(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable, "-m", "pytest", str(SUITES / "test_native_app.py"),
            "-p", "no:cacheprovider", "--device=pixel7", "--emulate", "--no-matrix",
            f"--results={tmp_path / 'results'}", *words,
        ],
        cwd=SUITES.parent,
        env={**os.environ, "TIERLAB_STATE": str(tmp_path / "state"), "COLUMNS": "200"},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def test_the_suite_is_left_out_where_no_app_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, "--collect-only", "-q")
    assert "no tests collected (2 deselected)" in done.stdout, done.stdout


@pytest.mark.integration
@pytest.mark.usefixtures("installation")
def test_the_sentence_that_users_type(tmp_path: Path) -> None:
    done = run(tmp_path, "--app=llm-sample")
    assert "2 passed" in done.stdout, done.stdout
    with Store.open(tmp_path / "results") as store:
        (record,) = store.records()
    assert record.verdict is Verdict.OK
    assert record.workload.runtime == "app/llm-sample"
    assert record.workload.weights == "gemma-3-1b-it/int4 simulated"
    assert record.device.emulated
