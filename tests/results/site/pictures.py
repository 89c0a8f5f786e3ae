"""Takes the pictures of a site that the documentation shows.

python -m tests.results.site.pictures tierlab-results/matrix/site docs/images
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final, NamedTuple

from tests.results.site.chromium import browser, window


class Picture(NamedTuple):
    """A part of a page, from its top or from the first element of a kind."""

    name: str
    page: str
    width: int
    height: int
    dark: bool = False
    start: str = "html"


# Below the header, which stays where it is.
_TO_THE_TOP: Final = "e => scrollTo(0, e.getBoundingClientRect().top + scrollY - 64)"

PICTURES: Final = (
    Picture("matrix.png", "index.html", 1240, 900),
    Picture("matrix-memory.png", "memory.html", 1180, 620, start="h2"),
    Picture("matrix-predictions.png", "predictions.html", 1180, 700, start=".tl-figures"),
    Picture("matrix-phone-dark.png", "index.html", 360, 760, dark=True, start="h2"),
)


def take(site: Path, folder: Path) -> list[Path]:
    """Take all of them, and return where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    taken = []
    with browser() as running:
        for picture in PICTURES:
            with window(
                running, width=picture.width, height=picture.height, dark=picture.dark
            ) as shown:
                shown.page.goto((site.resolve() / picture.page).as_uri())
                shown.page.locator(picture.start).first.evaluate(_TO_THE_TOP)
                path = folder / picture.name
                shown.page.screenshot(path=path, animations="disabled")
                taken.append(path)
    return taken


def main() -> None:
    """Take the pictures and say how large they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    for path in take(options.site, options.folder):
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")  # noqa: T201 - a script


if __name__ == "__main__":
    main()
