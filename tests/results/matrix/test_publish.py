"""A folder takes the place of another, whole or not at all, and only where it may."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from results.matrix import publish
from results.matrix.publish import MARKER, PublishError, exchange, publication


def put(target: Path, **files: str) -> None:
    """Publish some files."""
    with publication(target) as folder:
        for name, text in files.items():
            (folder / name).write_text(text)


def put_half(target: Path, error: type[BaseException]) -> None:
    """Fail while the new one is built."""
    with publication(target) as folder:
        (folder / "one").write_text("half")
        raise error


def held(target: Path) -> dict[str, str]:
    """What is published, but for the marker."""
    return {path.name: path.read_text() for path in target.iterdir() if path.name != MARKER}


def beside(target: Path) -> list[str]:
    """What lies beside the target."""
    return sorted(path.name for path in target.parent.iterdir() if path != target)


@pytest.fixture(params=["exchange", "two steps"])
def target(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where to publish, on a system that can exchange folders and on one that cannot."""
    if request.param == "two steps":
        monkeypatch.setattr(publish, "exchange", lambda *_: False)
    return tmp_path / "matrix"


def test_a_first_publication(target: Path) -> None:
    put(target, one="1")
    assert held(target) == {"one": "1"}
    assert beside(target) == []


def test_another_replaces_all_of_it(target: Path) -> None:
    put(target, one="1", two="2")
    put(target, one="new")
    assert held(target) == {"one": "new"}
    assert beside(target) == []


def test_one_inside_of_another(tmp_path: Path) -> None:
    # In a process of its own: what waits for itself waits for ever.
    code = """
import sys
from pathlib import Path
from results.matrix.publish import publication
for text in ("old", "new"):
    with publication(Path(sys.argv[1])) as folder, publication(folder / "site") as inner:
        (inner / "index.html").write_text(text)
"""
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", code, str(tmp_path / "matrix")]
    subprocess.run(command, cwd=root, check=True, timeout=60)
    assert (tmp_path / "matrix/site/index.html").read_text() == "new"


def test_an_empty_folder_may_be_replaced(target: Path) -> None:
    target.mkdir()
    put(target, one="1")
    assert held(target) == {"one": "1"}


def test_folders_above_are_made(tmp_path: Path) -> None:
    put(tmp_path / "a/b/matrix", one="1")
    assert held(tmp_path / "a/b/matrix") == {"one": "1"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_what_fails_leaves_the_old_one(target: Path, error: type[BaseException]) -> None:
    put(target, one="1")
    with pytest.raises((error, PublishError)):
        put_half(target, error)
    assert held(target) == {"one": "1"}
    assert beside(target) == []


def test_what_fails_for_the_first_time_leaves_nothing(target: Path) -> None:
    with pytest.raises(RuntimeError):
        put_half(target, RuntimeError)
    assert not target.exists()
    assert beside(target) == []


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    put(tmp_path / "real", one="1")
    link = tmp_path / "link"
    link.symlink_to("real")
    put(link, one="2")
    assert link.is_symlink()
    assert held(tmp_path / "real") == {"one": "2"}


def test_who_may_read_it_stays(target: Path) -> None:
    put(target, one="1")
    target.chmod(0o751)
    put(target, one="2")
    assert target.stat().st_mode & 0o777 == 0o751


# ---- what is not replaced ----


def test_a_folder_of_somebody_elses(target: Path) -> None:
    target.mkdir()
    (target / "thesis.tex").write_text("years of work")
    with pytest.raises(PublishError, match=r"matrix: holds .*\(thesis.tex\)(?s:.*)-> name a new"):
        put(target, one="1")
    assert (target / "thesis.tex").read_text() == "years of work"
    assert beside(target) == []


def test_a_publication_with_something_else_in_it(target: Path) -> None:
    put(target, one="1")
    for name in ("a", "b\x1b[2J", "c", "d"):
        (target / name).touch()
    with pytest.raises(PublishError, match=r"\(a, b\N{REPLACEMENT CHARACTER}\[2J, c and 1 more\)"):
        put(target, one="2")
    assert held(target)["one"] == "1"


def test_what_comes_while_the_new_one_is_built(target: Path) -> None:
    put(target, one="1")
    with pytest.raises(PublishError, match="late"), publication(target):
        (target / "late").touch()
    assert set(held(target)) == {"one", "late"}
    assert beside(target) == []


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"entries": 1}', '{"entries": {"one": 1}}'])
def test_a_damaged_marker_vouches_for_nothing(target: Path, body: str) -> None:
    put(target, two="1")
    (target / MARKER).write_text(body)
    with pytest.raises(PublishError, match="two"):
        put(target, two="2")


def test_a_file(target: Path) -> None:
    target.write_text("a letter")
    with pytest.raises(PublishError, match="is a file"):
        put(target, one="1")
    assert target.read_text() == "a letter"


def test_a_mount_point(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target.mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda _: True)
    with pytest.raises(PublishError, match="name a folder inside it"):
        put(target, one="1")


def test_a_place_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PublishError, match="cannot be published"):
        put(tmp_path / "file/matrix", one="1")


# ---- what killed publishers leave ----


def test_what_a_killed_publisher_left_is_swept(target: Path) -> None:
    left = target.with_name(".matrix.tierlab-0123abcd")
    left.mkdir()
    (left / "half").touch()
    put(target, one="1")
    assert beside(target) == []


def test_what_another_publisher_is_building_is_left_alone(target: Path) -> None:
    building = target.with_name(".matrix.tierlab-0123abcd")
    building.mkdir()
    lock = os.open(building, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    put(target, one="1")
    assert beside(target) == [building.name]
    os.close(lock)
    put(target, one="2")
    assert beside(target) == []


def test_what_only_looks_like_it_is_left_alone(target: Path) -> None:
    target.with_name(".matrix.tierlab-link").symlink_to(target.parent)
    target.with_name(".matrix-other.tierlab-1").mkdir()
    target.with_name(".matrix.tierlab-file").touch()
    put(target, one="1")
    assert len(beside(target)) == 3


def test_the_old_one_is_brought_back_after_half_a_replacement(target: Path) -> None:
    put(target, one="1")
    target.rename(target.with_name(".matrix.tierlab-old"))
    with publication(target) as folder:
        assert held(target) == {"one": "1"}
        (folder / "one").write_text("2")
    assert held(target) == {"one": "2"}
    assert beside(target) == []


def test_a_second_step_that_fails_undoes_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "matrix"
    put(target, one="1")
    monkeypatch.setattr(publish, "exchange", lambda *_: False)
    rename = Path.rename

    def fail_for_the_new_one(path: Path, to: Path) -> Path:
        if to == target and not path.name.endswith("-old"):
            raise OSError(5, "the disk is broken")
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", fail_for_the_new_one)
    with pytest.raises(PublishError, match="the disk is broken"):
        put(target, one="2")
    assert held(target) == {"one": "1"}
    assert beside(target) == []


# ---- the system call ----


def test_folders_change_places(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for path in (one, other):
        path.mkdir()
        (path / path.name).touch()
    assert exchange(one, other)
    assert [path.name for path in one.iterdir()] == ["other"]


def test_an_exchange_that_fails_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "one", tmp_path / "other")
