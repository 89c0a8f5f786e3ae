"""What a host hands over arrives once, whole, and nowhere but in the results."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from harness.errors import UserError
from harness.fleet.delivery import deliver, pack, receive
from results.fleet.handover import confirm
from results.store import Store
from tests.results.stores import filled

if TYPE_CHECKING:
    from pathlib import Path


def test_a_bundle_arrives_once_and_is_confirmed(tmp_path: Path) -> None:
    filled(tmp_path / "host", "trial-1", "trial-2")
    file = tmp_path / "spool" / "one.tar.gz"
    with Store.open(tmp_path / "host") as host, Store.open(tmp_path / "controller") as controller:
        bundle = pack(host, file)
        again = file.read_bytes()
        told, clean = receive(controller, [file])
        assert clean
        assert "2 new trials" in told[0]
        assert not file.exists()
        file.write_bytes(again)
        assert "0 new trials" in receive(controller, [file])[0][0]
        assert confirm(host, bundle.bundle_id)
        assert pack(host, file).counts.get("record", 0) == 0
        assert {one.trial_id for one in controller.records()} == {"trial-1", "trial-2"}
    assert (tmp_path / "controller" / "trials" / "trial-1" / "memory-curve.json").is_file()


def test_a_bundle_that_was_cut_off_is_put_aside(tmp_path: Path) -> None:
    filled(tmp_path / "host", "trial-1")
    file = tmp_path / "one.tar.gz"
    with Store.open(tmp_path / "host") as host, Store.open(tmp_path / "controller") as controller:
        pack(host, file)
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        told, clean = receive(controller, [file])
        assert not clean
        assert "is no whole bundle" in told[0]
        assert controller.records() == []
    assert not file.exists()
    assert (tmp_path / "one.tar.gz.broken").exists()


@pytest.mark.parametrize("name", ["../outside", "/tmp/tierlab-outside"])  # noqa: S108
def test_a_bundle_writes_nothing_outside(tmp_path: Path, name: str) -> None:
    file = tmp_path / "evil.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = 4
        archive.addfile(entry, io.BytesIO(b"evil"))
    with Store.open(tmp_path / "controller") as controller, pytest.raises(UserError):
        deliver(controller, file)
    assert not (tmp_path / name).exists()


def test_what_a_killed_command_left_is_removed_by_the_next(tmp_path: Path) -> None:
    filled(tmp_path / "host", "trial-1")
    file = tmp_path / "builder" / "bundle.tar.gz"
    file.parent.mkdir()
    (file.parent / ".bundle.tar.gz.0123abcd.partial").touch()
    for name in ("host", "controller"):
        (tmp_path / name / ".handover" / "left").mkdir(parents=True)
    with Store.open(tmp_path / "host") as host, Store.open(tmp_path / "controller") as controller:
        pack(host, file)
        assert list(file.parent.iterdir()) == [file]
        deliver(controller, file)
    for name in ("host", "controller"):
        assert list((tmp_path / name / ".handover").iterdir()) == []
