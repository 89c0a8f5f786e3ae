"""`tierlab matrix`, from the results folder to the printed address."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest

from harness.cli import main
from results.matrix import after_run, make
from results.matrix.after_run import matrix_after_run
from results.matrix.publish import MARKER
from results.site import SiteError
from results.store import Store
from tests.results.matrix.gfm import rendered
from tests.results.matrix.stores import trial, with_device

if TYPE_CHECKING:
    from results.matrix.model import Matrix
    from results.record import Record

DATA = {
    MARKER, "badges", "evidence", "evidence.schema.json", "matrix.json", "matrix.md",
    "matrix.schema.json", "memory.schema.json",
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(make, "build_site", made_up_site)


def made_up_site(matrix: Matrix, source: Path, target: Path, *, store: Store | None = None) -> Path:
    """A site of one page, made of what the real one is made of."""
    assert (source / "matrix.json").is_file()
    assert store is not None
    target.mkdir()
    (target / "index.html").write_text(f"{matrix.meta.trials} trials")
    return target / "index.html"


def no_site(*_: Any, **__: Any) -> Path:
    raise SiteError("the website needs mkdocs: pip install 'tierlab[site]'")


def fill(results: Path, *records: Record) -> None:
    with Store.open(results) as store:
        for item in records or (trial(1),):
            store.start_run(item.run_id, "")
            store.add(item)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def opened(address: str) -> Path:
    """The file that a browser would open."""
    parts = urlsplit(address.strip())
    assert parts.scheme == "file"
    return Path(unquote(parts.path))


def failure(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(words) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    return said.err


# ---- the command ----


def test_everything_is_written_and_the_address_printed(capsys: pytest.CaptureFixture[str]) -> None:
    fill(Path("tierlab-results"))
    assert main(["matrix"]) == 0
    said = capsys.readouterr()
    assert opened(said.out).read_text() == "1 trials"
    assert "1 cell from 1 trial" in said.err
    folder = Path("tierlab-results/matrix")
    assert names(folder) == DATA | {"index.html", "site"}
    assert 'url=site/index.html"' in (folder / "index.html").read_text()
    assert (folder / "badges/support/desktop-a-processor-2-cores-8-gib/gemma-2b.svg").is_file()


def test_without_a_site_the_address_is_that_of_the_markdown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fill(Path("other results"))
    assert main(["matrix", "--results", "other results", "--no-site"]) == 0
    assert opened(capsys.readouterr().out) == Path("other results/matrix/matrix.md").absolute()
    assert names(Path("other results/matrix")) == DATA


def test_again_with_more_trials(capsys: pytest.CaptureFixture[str]) -> None:
    fill(Path("tierlab-results"))
    main(["matrix", "--output", "out"])
    fill(Path("tierlab-results"), with_device(trial(2), profile="other"))
    assert main(["matrix", "--output", "out", "--no-site"]) == 0
    assert "2 cells from 2 trials" in capsys.readouterr().err
    assert names(Path("out")) == DATA
    assert names(Path()) == {"tierlab-results", "out"}


def test_expiry(capsys: pytest.CaptureFixture[str]) -> None:
    fill(Path("tierlab-results"))
    assert main(["matrix", "--no-site", "--expiry-days", "7"]) == 0
    body = json.loads(Path("tierlab-results/matrix/matrix.json").read_text())
    assert body["__meta"]["expiry_days"] == 7
    capsys.readouterr()
    for word in ("0", "-1", "soon", "1.5", "1000000"):
        with pytest.raises(SystemExit, match="2"):
            main(["matrix", f"--expiry-days={word}"])
        assert f"{word!r} is no number of days" in capsys.readouterr().err


def test_publishing(capsys: pytest.CaptureFixture[str]) -> None:
    fill(Path("tierlab-results"))
    for _ in range(2):
        assert main(["matrix", "--publish", "public/matrix"]) == 0
        assert "published in public/matrix" in capsys.readouterr().err
    assert names(Path("public/matrix")) == DATA | {"index.html", "site"}
    assert names(Path("public")) == {"matrix"}


def test_publishing_does_not_delete_what_is_not_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fill(Path("tierlab-results"))
    Path("home").mkdir()
    Path("home/thesis.tex").touch()
    said = failure(["matrix", "--publish", "home"], capsys)
    assert "home: holds what is no publication of tierlab's (thesis.tex)" in said
    assert names(Path("home")) == {"thesis.tex"}


@pytest.mark.parametrize("place", ["tierlab-results/matrix/inside", "."])
def test_publishing_into_itself(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    fill(Path("tierlab-results"))
    assert "name a folder" in failure(["matrix", "--no-site", "--publish", place], capsys)


def test_publishing_where_it_is_made_already() -> None:
    fill(Path("tierlab-results"))
    assert main(["matrix", "--no-site", "--output", "out", "--publish", "out"]) == 0
    assert names(Path("out")) == DATA


def test_the_output_does_not_replace_the_results(capsys: pytest.CaptureFixture[str]) -> None:
    fill(Path("tierlab-results"))
    said = failure(["matrix", "--no-site", "--output", "tierlab-results"], capsys)
    assert "store.sqlite3" in said
    assert Path("tierlab-results/store.sqlite3").is_file()


def test_markdown_for_a_repository() -> None:
    fill(Path("tierlab-results"))
    Path("docs").mkdir()
    Path("docs/MATRIX.md").write_text("old")
    words = ["matrix", "--no-site", "--markdown", "docs/MATRIX.md"]
    assert main(words) == 0
    page = rendered(Path("docs/MATRIX.md").read_text())
    assert page.rows
    assert page.links == []
    assert main([*words, "--publish", "public"]) == 0
    (link,) = rendered(Path("docs/MATRIX.md").read_text()).links
    assert link == "../public/evidence/trial-001.json"
    assert (Path("docs") / link).is_file()
    assert names(Path("docs")) == {"MATRIX.md"}


def test_markdown_that_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    fill(Path("tierlab-results"))
    said = failure(["matrix", "--no-site", "--markdown", "missing/MATRIX.md"], capsys)
    assert "missing/MATRIX.md: cannot be written" in said


def test_a_missing_extra_says_how_and_leaves_the_old_matrix(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(Path("tierlab-results"))
    main(["matrix"])
    capsys.readouterr()
    monkeypatch.setattr(make, "build_site", no_site)
    said = failure(["matrix"], capsys)
    assert "pip install 'tierlab[site]'" in said
    assert "--no-site" in said
    assert Path("tierlab-results/matrix/site/index.html").is_file()


def test_no_results(capsys: pytest.CaptureFixture[str]) -> None:
    assert "run `tierlab run` first" in failure(["matrix"], capsys)
    assert not Path("tierlab-results").exists()
    with Store.open(Path("tierlab-results")):
        pass
    assert "no trial is stored here" in failure(["matrix"], capsys)


def test_lost_evidence_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    fill(Path("tierlab-results"))
    with Store.open(Path("tierlab-results")) as store, store.transaction() as connection:
        connection.execute("UPDATE records SET body = '{}'")
    assert main(["matrix", "--no-site"]) == 0
    assert "1 of 1 cells have no evidence" in capsys.readouterr().err


def test_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any, **__: Any) -> Path:
        raise KeyboardInterrupt

    fill(Path("tierlab-results"))
    monkeypatch.setattr(make, "build_site", interrupt)
    assert main(["matrix"]) == 130
    assert not [path for path in Path("tierlab-results").iterdir() if "matrix" in path.name]


# ---- after a run ----


def after(results: Path) -> tuple[list[str], list[str]]:
    said: list[str] = []
    warned: list[str] = []
    matrix_after_run(results, said.append, warned.append)
    return said, warned


def test_after_a_run_the_address_is_said() -> None:
    fill(Path("results"))
    said, warned = after(Path("results"))
    assert warned == []
    assert said[0] == "matrix: 1 cell from 1 trial"
    assert opened(said[1].removeprefix("matrix: ")).is_file()


def test_after_a_run_without_trials_nothing_is_said() -> None:
    with Store.open(Path("results")):
        pass
    assert after(Path("results")) == ([], [])


def test_after_a_run_a_missing_extra_costs_the_site_only(monkeypatch: pytest.MonkeyPatch) -> None:
    fill(Path("results"))
    monkeypatch.setattr(make, "build_site", no_site)
    said, warned = after(Path("results"))
    assert warned == [
        "the matrix has no website: the website needs mkdocs: pip install 'tierlab[site]'"
    ]
    assert said[1].endswith("/results/matrix/matrix.md")


@pytest.mark.parametrize(
    "error", [RuntimeError("one\ntwo"), OSError(28, "full"), KeyboardInterrupt()]
)
def test_after_a_run_whatever_fails_is_a_warning(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(after_run, "make_matrix", fail)
    said, (warning,) = after(Path("results"))
    assert said == []
    assert warning.startswith("the matrix was not made: ")
    assert "\n" not in warning


def test_after_a_run_a_matrix_folder_of_somebody_elses_stays() -> None:
    fill(Path("results"))
    Path("results/matrix").mkdir()
    Path("results/matrix/film.mkv").touch()
    said, (warning,) = after(Path("results"))
    assert said == []
    assert "film.mkv" in warning
