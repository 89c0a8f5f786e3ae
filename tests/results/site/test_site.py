"""The site as a whole: built once from varied and hostile trials, then read and looked at."""

from __future__ import annotations

import http.server
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from results.matrix.publish import PublishError
from results.site import SiteError, build_site
from results.site.view import rows_of
from tests.results.site.chromium import browser, window
from tests.results.site.examples import hostile_trials, publish, trials
from tests.results.site.markup import Markup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

    from results.matrix.model import Matrix
    from results.site.view import Row
    from tests.results.site.chromium import Window

    Picture = Callable[[Window, Path, str], None]

pytestmark = pytest.mark.integration

CONTRAST: Final = Path(__file__).with_name("contrast.js").read_text(encoding="utf-8")
KINDS: Final = (
    "index.html",
    "devices/index.html",
    "devices/galaxy-a15.html",
    "devices/desktop-2g-a-processor-2-cores-8-gib.html",
    "models/index.html",
    "models/gemma-2b.html",
    "predictions.html",
    "memory.html",
    "trends.html",
    "about.html",
    "docs/index.html",
    "docs/runtimes.html",
)
"""A page of each kind."""


@dataclass
class Built:
    matrix: Matrix
    source: Path
    root: Path

    @property
    def pages(self) -> list[Path]:
        return sorted(self.root.rglob("*.html"))

    @property
    def rows(self) -> list[Row]:
        return rows_of(self.matrix)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("site")
    matrix, store = publish([*trials(), *hostile_trials()], folder)
    with store:
        index = build_site(matrix, folder / "matrix", folder / "matrix" / "site", store=store)
    return Built(matrix, folder / "matrix", index.parent)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


@pytest.fixture(scope="module")
def markup(site: Built) -> dict[Path, Markup]:
    return {path: Markup(path) for path in site.pages}


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Picture:
    """Takes a screenshot of a page, of one of each kind; they are kept with pytest's own files."""
    folder = tmp_path_factory.mktemp("screenshots")

    def take(shown: Window, page: Path, how: str) -> None:
        if page.as_posix() in KINDS:
            name = "-".join((*page.with_suffix("").parts, how))
            shown.page.screenshot(path=folder / f"{name}.png")

    return take


# ---- as files ----


def test_there_is_a_page_of_each_kind_and_one_a_device_and_model(site: Built) -> None:
    assert {site.root / name for name in KINDS} <= set(site.pages)
    assert len(list((site.root / "devices").glob("*.html"))) == len(site.matrix.devices) + 1
    assert len(list((site.root / "models").glob("*.html"))) == len(site.matrix.models) + 1
    assert not (site.root / ".work").exists()


def test_every_link_leads_somewhere(markup: dict[Path, Markup]) -> None:
    for path, page in markup.items():
        for link in page.links:
            target = page.target(link)
            if target is None:
                assert re.match(r"https://|http://127\.0\.0\.1", link), f"{path}: {link}"
                continue
            file, anchor = target
            assert file.is_file(), f"{path}: {link}"
            if anchor and file in markup:
                assert anchor in markup[file].ids, f"{path}: {link}"


def test_nothing_is_loaded_from_outside(site: Built, markup: dict[Path, Markup]) -> None:
    for path, page in markup.items():
        for load in page.loads:
            target = page.target(load)
            assert target, f"{path}: {load}"
            assert target[0].is_file(), f"{path}: {load}"
    for sheet in site.root.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", text), sheet


def test_no_text_became_markup(markup: dict[Path, Markup]) -> None:
    ours = {script for page in markup.values() for script in page.scripts if script.strip()}
    # The theme's own: where the site begins, the colours, the settings.
    assert len({re.sub(r'"[^"]*"', "", script) for script in ours}) <= 4, ours
    for path, page in markup.items():
        assert not page.handlers, path
        assert not [link for link in page.links if link.lower().startswith("javascript:")], path
        assert max(page.ids.values()) == 1, path


def test_hostile_texts_are_shown_as_they_are(markup: dict[Path, Markup]) -> None:
    text = "\n".join(page.text for page in markup.values())
    for hostile in ("<script>window.owned=1;alert(1)</script>", "{{ 7*7 }}{% set owned = 1 %}"):
        assert hostile in text
    assert "W" * 2_100 not in text


def test_tables_and_charts_can_be_read_out(markup: dict[Path, Markup]) -> None:
    for path, page in markup.items():
        assert page.images_without_text == 0, path
        assert page.charts == page.chart_titles, path
        for table in page.tables:
            assert table["th without scope"] == 0, path
            assert table["th"], path
            if "docs" not in path.parts:
                assert table["caption"] == 1, path


def test_every_chart_is_there(site: Built, markup: dict[Path, Markup]) -> None:
    assert not [path for path, page in markup.items() if "could not be drawn" in page.text]
    deaths = [row for row in site.rows if row.cell.verdict == "oom"]
    assert markup[site.root / "memory.html"].charts == len(deaths) > 0
    assert markup[site.root / "predictions.html"].charts == 3 * 5
    assert markup[site.root / "trends.html"].charts >= 5
    assert markup[site.root / "devices" / "galaxy-a15.html"].charts == 1 + 9


def test_every_cell_is_on_its_devices_page_with_evidence_and_badge(
    site: Built, markup: dict[Path, Markup]
) -> None:
    for row in site.rows:
        page = markup[site.root / row.device_page]
        assert row.anchor in page.ids
        assert f"../../{row.cell.evidence}" in page.links
    assert sum("/badges/" in load for page in markup.values() for load in page.loads) > 20


def test_what_is_not_the_devices_own_is_marked_wherever_it_stands(
    site: Built, markup: dict[Path, Markup]
) -> None:
    for row in site.rows:
        if row.marks and row.model.startswith("gemma"):
            assert row.marks in markup[site.root / row.device_page].text
            assert row.marks in markup[site.root / row.model_page].text


# ---- in a browser ----


def test_no_page_does_anything_but_show_itself(
    site: Built, chromium: Browser, picture: Picture
) -> None:
    with window(chromium, width=360, height=740) as shown:
        for path in site.pages:
            shown.page.goto(path.as_uri())
            picture(shown, path.relative_to(site.root), "phone")
            # A phone scrolls tables in their own boxes, and never the page.
            assert shown.page.evaluate("document.documentElement.scrollWidth") <= 360, path
            assert shown.page.evaluate("window.owned") is None, path
            assert shown.page.title(), path
            assert not shown.wrongs, path


def searched(page: Page, text: str) -> str:
    """The address of the first result of a search."""
    field = page.get_by_role("textbox", name="Search")
    field.fill("")
    # The theme listens to keys.
    field.press_sequentially(text)
    result = page.locator(".md-search-result__link", has_text=re.compile(text, re.IGNORECASE)).first
    result.wait_for()
    return str(result.get_attribute("href"))


def test_search_finds_pages_from_a_disk(site: Built, chromium: Browser) -> None:
    with window(chromium) as shown:
        shown.page.goto((site.root / "devices" / "galaxy-a15.html").as_uri())
        assert "devices/pixel-9-pro.html" in searched(shown.page, "Pixel")
        for text in ("owned", "script", "onload"):
            assert searched(shown.page, text)
        assert shown.page.evaluate("window.owned") is None
        assert not shown.wrongs


@contextmanager
def served(folder: Path) -> Iterator[str]:
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    handler = partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


def test_it_works_from_a_web_server_and_asks_nobody_else(site: Built, chromium: Browser) -> None:
    with served(site.source) as address, window(chromium) as shown:
        shown.context.set_offline(offline=False)
        page = shown.page
        page.goto(f"{address}site/index.html")
        assert "devices/pixel-9-pro.html" in searched(page, "Pixel")
        page.goto(f"{address}site/devices/galaxy-a15.html")
        page.get_by_role("link", name="Evidence as JSON").first.click()
        assert json.loads(page.locator("pre").inner_text())["verdict"]
        # Browsers ask every server for this, whatever a page of JSON says.
        assert [w for w in shown.wrongs if address not in w and "404" not in w] == []


def test_filters_narrow_the_tables_and_are_part_of_the_address(
    site: Built, chromium: Browser
) -> None:
    with window(chromium) as shown:
        page = shown.page
        page.goto((site.root / "index.html").as_uri())
        form = page.locator("#tl-filter")
        cells = page.locator(".tl-cells > li:visible")
        everything = len(site.rows)
        assert cells.count() == everything
        # By keyboard alone: Tab to the form, type, choose.
        page.get_by_role("searchbox", name="device").focus()
        page.keyboard.type("GALAXY")
        page.keyboard.press("Tab")
        page.keyboard.type("gemma-4")
        assert cells.count() == 3
        assert page.locator("tbody th:visible").all_inner_texts() == ["Galaxy A15\ngalaxy-a15"]
        assert page.locator("thead th:visible").count() == 2
        assert page.locator("output").inner_text() == f"3 of {everything} cells"
        assert page.url.endswith("#device=GALAXY&model=gemma-4-e2b")
        form.get_by_label("verdict").select_option("oom")
        assert cells.count() == 2
        page.reload()
        assert cells.count() == 2
        page.get_by_role("button", name="Show all").click()
        page.wait_for_url(re.compile(r"index\.html$"))
        assert cells.count() == everything
        form.get_by_label("section").select_option("limited")
        headings = page.locator("h2:visible").all_inner_texts()
        assert [heading.rstrip("¶") for heading in headings] == ["Limited and emulated devices"]
        assert not shown.wrongs


@pytest.mark.parametrize(
    ("address", "all_cells"),
    [
        ("#tier=high&section=support", False),
        ("#model=no-such-model", True),
        ("#limited", True),
        ("#%", True),
        ("#device=%22%5D%3Cscript%3Ewindow.owned=1%3C/script%3E", False),
        ("#__proto__=1&model=", True),
    ],
)
def test_an_address_may_hold_anything(
    site: Built, chromium: Browser, address: str, *, all_cells: bool
) -> None:
    with window(chromium) as shown:
        shown.page.goto((site.root / "index.html").as_uri() + address)
        count = shown.page.locator(".tl-cells > li:visible").count()
        assert (count == len(site.rows)) == all_cells
        assert shown.page.evaluate("window.owned") is None
        assert not shown.wrongs


def test_without_javascript_the_tables_show_everything(site: Built, chromium: Browser) -> None:
    with window(chromium, java_script_enabled=False) as shown:
        shown.page.goto((site.root / "index.html").as_uri())
        assert shown.page.locator(".tl-cells > li").count() == len(site.rows)
        assert shown.page.locator(".tl-cells > li").last.is_visible()
        assert not shown.page.locator("#tl-filter").is_visible()


@pytest.mark.parametrize("dark", [False, True])
def test_texts_stand_out_from_what_is_behind_them(
    site: Built, chromium: Browser, picture: Picture, *, dark: bool
) -> None:
    with window(chromium, dark=dark) as shown:
        for name in KINDS:
            shown.page.goto((site.root / name).as_uri())
            picture(shown, Path(name), "dark" if dark else "light")
            shown.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
            found: dict[str, Any] = shown.page.evaluate(CONTRAST)
            assert found["texts"] > 20
            assert found["low"] == [], name
        assert not shown.wrongs


def test_colours_follow_the_system_and_can_be_switched(site: Built, chromium: Browser) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    seen = []
    for dark in (False, True):
        with window(chromium, dark=dark) as shown:
            shown.page.goto((site.root / "index.html").as_uri())
            seen.append(shown.page.evaluate(background))
            shown.page.get_by_title("Switch to").locator("visible=true").click()
            seen.append(shown.page.evaluate(background))
    light, switched_to_dark, dark_first, switched_to_light = seen
    assert light == switched_to_light != switched_to_dark == dark_first


def test_the_first_column_stays_while_a_table_is_scrolled(site: Built, chromium: Browser) -> None:
    with window(chromium, width=360, height=740) as shown:
        shown.page.goto((site.root / "index.html").as_uri())
        box = shown.page.locator(".tl-scroll").first
        first = box.locator("tbody th").first
        before = first.bounding_box()
        box.evaluate("box => box.scrollLeft = 300")
        assert box.evaluate("box => box.scrollLeft") == 300
        after = first.bounding_box()
        assert before
        assert after
        assert before["x"] == pytest.approx(after["x"], abs=1)


def test_the_first_key_offers_to_skip_and_focus_can_be_seen(site: Built, chromium: Browser) -> None:
    with window(chromium) as shown:
        page = shown.page
        for name in ("index.html", "devices/galaxy-a15.html"):
            page.goto((site.root / name).as_uri())
            page.keyboard.press("Tab")
            assert page.evaluate("document.activeElement.matches('.md-skip')")
            anchor = page.evaluate("document.activeElement.hash")
            assert page.locator(f"h1{anchor}").count() == 1
        page.goto((site.root / "index.html").as_uri())
        for element in ("#tl-filter input", "#tl-filter button", ".tl-scroll", ".tl-cells a"):
            page.locator(element).first.focus()
            page.keyboard.press("Shift+Tab")
            page.keyboard.press("Tab")
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline == "solid", element


# ---- building ----


def test_a_site_elsewhere_has_its_data_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where the package is installed, and the documentation is not.
    monkeypatch.setattr("results.site.build.checkout", lambda: None)
    matrix, store = publish(trials()[:3], tmp_path)
    store.close()
    (tmp_path / "matrix" / "notes.txt").write_text("private", encoding="utf-8")
    index = build_site(matrix, tmp_path / "matrix", tmp_path / "site")
    page = Markup(index.parent / "devices" / "pixel-9-pro.html")
    assert [link for link in page.links if link.startswith("../data/evidence/")]
    assert (index.parent / "data" / "matrix.json").is_file()
    assert not (index.parent / "docs").exists()
    assert not list(index.parent.rglob("notes.txt"))
    # Once more in the same place, and with nothing to show.
    again = build_site(
        matrix.model_copy(
            update={"support": {}, "limited": {}, "software_adapter": {}, "devices": {}}
        ),
        tmp_path / "matrix",
        tmp_path / "site",
    )
    assert again == index
    assert "There are no trials yet" in Markup(index).text
    assert not (index.parent / "devices" / "pixel-9-pro.html").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["matrix", "results", "site"]


def test_a_folder_that_holds_something_else_is_not_replaced(tmp_path: Path) -> None:
    matrix, store = publish(trials()[:1], tmp_path)
    store.close()
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "thesis.txt").touch()
    with pytest.raises(PublishError, match="thesis"):
        build_site(matrix, tmp_path / "matrix", tmp_path / "site")
    with pytest.raises(PublishError, match="matrix"):
        build_site(matrix, tmp_path / "matrix", tmp_path / "matrix")


def test_what_mkdocs_says_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, store = publish(trials()[:1], tmp_path)
    store.close()
    monkeypatch.setattr("results.site.build._scheme", lambda *_: {"toggle": 1})
    with pytest.raises(SiteError, match="mkdocs failed"):
        build_site(matrix, tmp_path / "matrix", tmp_path / "site")
    assert not (tmp_path / "site").exists()
