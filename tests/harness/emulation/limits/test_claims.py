from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.emulation.limits import claims, sweep
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import Popen

RECORD = claims.Record(
    id="run-1", limiter="cgroup-v2", owner=7, groups=(Path("/nowhere/tierlab/run-1"),)
)

# Takes a claim, says so, and waits to be killed.
OWNER = """
import sys
from pathlib import Path
from harness.emulation.limits import claims
claim = claims.claim(claims.Record("run-1", "cgroup-v2", 7, (Path("/nowhere/tierlab/run-1"),)))
print("claimed", flush=True)
sys.stdin.read()
"""


def files(state: Path) -> set[str]:
    return {path.name for path in state.rglob("*") if path.is_file()} - {"making"}


def test_a_record_comes_back() -> None:
    assert claims.Record.from_json(RECORD.to_json()) == RECORD


@pytest.mark.parametrize(
    "change",
    [
        {"groups": ["/sys/fs/cgroup/memory"]},
        {"groups": ["/sys/fs/cgroup/memory/tierlab"]},
        {"groups": ["/sys/fs/cgroup/memory/tierlab/other"]},
        {"groups": ["/user.slice/run-1.scope"]},
        {"groups": None},
        {"owner": None},
    ],
)
def test_a_record_that_names_a_foreign_group_is_refused(change: dict[str, Any]) -> None:
    data = json.loads(RECORD.to_json()) | change
    with pytest.raises(ValueError, match=r"no group of|not a record"):
        claims.Record.from_json(json.dumps(data))


def test_a_living_claim_is_not_dead_and_leaves_nothing(state: Path) -> None:
    claim = claims.claim(RECORD)
    assert list(claims.dead()) == []
    assert files(state) == {"run-1.json", "run-1.lock"}
    claim.release()
    assert files(state) == set()


def test_what_is_abandoned_is_found_once(state: Path) -> None:
    claims.claim(RECORD).abandon()
    (claim,) = claims.dead()
    assert claim.record == RECORD
    assert list(claims.dead()) == []
    claim.release()
    assert files(state) == set()


def test_the_lock_dies_with_its_owner(python: Callable[..., Popen[str]], state: Path) -> None:
    owner = python(OWNER)
    assert owner.stdout is not None
    assert owner.stdout.readline() == "claimed\n"
    assert sweep() == []
    owner.kill()
    owner.wait()
    assert sweep() == ["run-1"]
    assert files(state) == set()
    assert sweep() == []


def test_an_unreadable_record_is_left_alone(state: Path) -> None:
    claims.claim(RECORD).abandon()
    (record,) = state.rglob("*.json")
    record.write_text("{")
    assert sweep() == []
    assert record.read_text() == "{"


def test_records_of_another_boot_are_not_read(state: Path) -> None:
    claims.claim(RECORD).abandon()
    (record,) = state.rglob("*.json")
    record.parent.rename(record.parent.with_name("another-boot"))
    assert sweep() == []
    assert files(state) == {"run-1.json", "run-1.lock"}


def test_a_state_directory_that_cannot_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TIERLAB_STATE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="Not a directory") as caught:
        sweep()
    assert "TIERLAB_STATE" in caught.value.next_step
