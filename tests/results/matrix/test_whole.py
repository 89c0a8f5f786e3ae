"""The whole of it with the real website: every link leads to something that is published."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

from harness.cli import main
from results.record import Verdict
from results.store import Store
from tests.results.matrix.stores import HOSTILE, trial, with_conditions, with_device, with_workload

if TYPE_CHECKING:
    from pathlib import Path

    from results.record import Record


def varied() -> list[Record]:
    """Trials of the device itself, of a limited one, of a software adapter; one with a curve."""
    files = {"memory-curve.json": "trials/1/memory-curve.json"}
    return [
        trial(1, files=files),
        with_workload(trial(2, verdict=Verdict.OOM, files=files), model="gemma-2-2b-it"),
        with_device(trial(3), profile="desktop-2g", name=HOSTILE[0], emulated=True),
        with_conditions(with_workload(trial(4), runtime="mediapipe/webgpu"), software_adapter=True),
    ]


class Links(HTMLParser):
    """Where a page leads, and what it loads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del tag
        self.found |= {value for name, value in attrs if name in {"href", "src"} and value}


def links_of(page: Path) -> set[str]:
    parser = Links()
    parser.feed(page.read_text(encoding="utf-8"))
    return {urldefrag(link).url for link in parser.found} - {""}


@pytest.mark.integration
def test_every_link_leads_into_the_publication(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, public = tmp_path / "results", tmp_path / "public"
    with Store.open(results) as store:
        store.start_run("run-1", "")
        for record in varied():
            store.add(record)
    curve = results / "trials/1/memory-curve.json"
    curve.parent.mkdir(parents=True)
    samples = [{"at_seconds": at, "processes": {"renderer": at}} for at in range(9)]
    curve.write_text(json.dumps(samples))

    assert main(["matrix", "--results", str(results), "--publish", str(public)]) == 0
    assert capsys.readouterr().out.endswith("/results/matrix/site/index.html\n")
    reached: set[Path] = set()
    for page in public.rglob("*.html"):
        for link in links_of(page):
            if urlsplit(link).scheme:
                continue
            place = (page.parent / unquote(link)).resolve()
            assert place.is_relative_to(public), (page, link)
            assert place.exists(), (page, link)
            reached.add(place.relative_to(public))
    names = {str(path) for path in reached}
    assert "site/index.html" in names, "from the first page"
    for number in range(1, 5):
        assert f"evidence/trial-00{number}.json" in names
    assert "evidence/trial-002.memory.json" in names
