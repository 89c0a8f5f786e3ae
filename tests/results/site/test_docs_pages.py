from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from results.site.docs_pages import checkout, documentation

if TYPE_CHECKING:
    from pathlib import Path

    from results.site.page import Page

README = """\
# The project

Read [engines](docs/engines.md), [one part](docs/engines.md#the-first-one), [the code](src/a.py),
[`src/b.py`](src/b.py), [far away](https://example.com/x), [here](#below) and
[nothing](javascript:alert(1)).

![a picture](docs/images/a.png) ![another](https://example.com/b.png) ![gone](docs/images/no.png)
![secret](../secret.png)

## Below

<script>alert(1)</script>

    $ run

    and more

## Below
"""
ENGINES = """\
| engine | `takes` |
|---|---|
| [one](../README.md#below) | ~~two~~ |

## The `first` one: what?

[up](../../outside.md)
"""


@pytest.fixture
def pages(tmp_path: Path) -> dict[str, Page]:
    root = tmp_path / "project"
    (root / "docs" / "images").mkdir(parents=True)
    (root / "README.md").write_text(README, encoding="utf-8")
    (root / "docs" / "engines.md").write_text(ENGINES, encoding="utf-8")
    (root / "docs" / "images" / "a.png").write_bytes(b"png")
    (tmp_path / "secret.png").write_bytes(b"png")
    docs = documentation(root)
    assert docs.images == {"docs/images/a.png": root / "docs" / "images" / "a.png"}
    return {page.path: page for page in docs.pages}


def test_every_document_is_a_page(pages: dict[str, Page]) -> None:
    assert list(pages) == ["docs/index.md", "docs/engines.md"]
    assert pages["docs/index.md"].title == "The project"
    # A document that begins with something else than a heading is named by its file.
    assert pages["docs/engines.md"].title == "engines"


def test_links_lead_to_pages_and_what_is_none_becomes_text(pages: dict[str, Page]) -> None:
    html = str(pages["docs/index.md"].blocks[0].html)
    assert '<a href="engines.html">engines</a>' in html
    assert '<a href="engines.html#the-first-one">one part</a>' in html
    assert '<a href="https://example.com/x">far away</a>' in html
    assert '<a href="#below">here</a>' in html
    assert "<code>the code</code>" in html
    assert "<code>src/b.py</code>" in html
    assert "javascript:" not in html.replace("(javascript:alert(1))", "")
    engines = "".join(str(block.html) for block in pages["docs/engines.md"].blocks)
    assert '<a href="index.html#below">one</a>' in engines
    assert "<code>up</code>" in engines


def test_only_the_projects_own_images_are_shown(pages: dict[str, Page]) -> None:
    html = str(pages["docs/index.md"].blocks[0].html)
    assert '<img src="images/a.png" alt="a picture" loading="lazy" />' in html
    assert html.count("<img") == 1
    assert all(text in html for text in ("another", "gone", "secret"))


def test_html_in_a_document_is_shown_and_not_obeyed(pages: dict[str, Page]) -> None:
    html = "".join(str(block.html) for block in pages["docs/index.md"].blocks)
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_anchors_are_those_of_the_repository_and_each_its_own(pages: dict[str, Page]) -> None:
    anchors = [block.anchor for block in pages["docs/index.md"].blocks]
    assert anchors == ["the-project", "below", "below-1"]
    assert [block.anchor for block in pages["docs/engines.md"].blocks][-1] == "the-first-one-what"


def test_tables_have_headers_with_a_scope_and_scroll_in_their_own_box(
    pages: dict[str, Page],
) -> None:
    html = str(pages["docs/engines.md"].blocks[0].html)
    assert html.count('<th scope="col">') == 2
    assert html.index('<div class="tl-scroll"') < html.index('<table class="tl-table">')
    assert "</table></div>" in html
    assert "<s>two</s>" in html


def test_the_projects_own_documents_are_found() -> None:
    root = checkout()
    assert root is not None
    assert {"docs/index.md", "docs/architecture.md"} <= {p.path for p in documentation(root).pages}
