"""From the matrix to a folder of HTML: pages are written, turned into a website, put in place."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from results.matrix.publish import publication
from results.site import SiteError, pages
from results.site.context import Context
from results.site.docs_pages import checkout, documentation
from results.site.drawing import Drawer
from results.site.evidence import Proofs
from results.site.trends import trends
from results.site.view import rows_of

if TYPE_CHECKING:
    from results.matrix.model import Matrix
    from results.site.docs_pages import Documentation
    from results.store import Store

MEMORY_CHARTS: Final = 400
"""Memory charts of cells that did not run out of memory; each takes some 30 ms and 20 kB."""

_DATA: Final = "data"
_WORK: Final = ".work"
_ASSETS: Final = "assets/tierlab"
# What the theme writes and a site without an address of its own has no use for.
_USELESS: Final = ("404.html", "sitemap.xml", "sitemap.xml.gz")
_LAST_LINES: Final = 12
# 200 pages take seconds; thousands of cells some minutes.
_DEADLINE_SECONDS: Final = 3600


def build(matrix: Matrix, source: Path, target: Path, *, store: Store | None = None) -> Path:
    """See `results.site.build_site`."""
    linked = target.resolve().is_relative_to(source.resolve())
    data = Path(os.path.relpath(source, target)).as_posix() if linked else _DATA
    root = checkout()
    docs = documentation(root) if root else None
    with publication(target) as folder, Drawer() as drawer:
        context = Context(
            matrix=matrix,
            rows=rows_of(matrix),
            proofs=Proofs(folder=source, data=data),
            trends=trends(store) if store else {},
            data=data,
            draw=drawer.draw,
            memory_charts=MEMORY_CHARTS,
        )
        work = folder / _WORK
        _write(work, context, docs)
        built = _run_mkdocs(work, matrix, docs)
        if not linked:
            _copy_data(source, built / _DATA)
        for entry in built.iterdir():
            entry.rename(folder / entry.name)
        shutil.rmtree(work)
    return target / "index.html"


def _write(work: Path, context: Context, docs: Documentation | None) -> None:
    """All sources of the website: pages, images of the documentation, our own assets."""
    folder = work / "pages"
    for page in [*pages.matrix_pages(context), *(docs.pages if docs else [])]:
        path = folder / page.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page.markdown(), encoding="utf-8")
    for name, image in (docs.images if docs else {}).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image, path)
    with as_file(files("results.site") / "assets") as assets:
        shutil.copytree(assets, folder / _ASSETS)


def _run_mkdocs(work: Path, matrix: Matrix, docs: Documentation | None) -> Path:
    """Build in a process of its own: the theme's plugins keep state, and log where they like."""
    built = work / "site"
    # JSON is YAML. An absolute path, since relative ones are read from where the file lies.
    settings = work / "mkdocs.yml"
    settings.write_text(json.dumps(_settings(matrix, docs)), encoding="utf-8")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict"]
    try:
        done = subprocess.run(
            [*command, "--config-file", str(settings), "--site-dir", str(built)],
            cwd=work,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_DEADLINE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SiteError(f"mkdocs was not done after {_DEADLINE_SECONDS} seconds") from error
    if done.returncode != 0:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-_LAST_LINES:])
        raise SiteError(f"mkdocs failed with exit code {done.returncode}:\n{last}")
    for name in _USELESS:
        (built / name).unlink(missing_ok=True)
    return built


def _settings(matrix: Matrix, docs: Documentation | None) -> dict[str, Any]:
    """The whole of mkdocs.yml."""
    meta = matrix.meta
    return {
        "site_name": "tierlab",
        "copyright": f"Generated {meta.generated_at.date().isoformat()} from {meta.trials} trials",
        "docs_dir": "pages",
        "use_directory_urls": False,
        "theme": {
            "name": "material",
            "font": False,
            "favicon": f"{_ASSETS}/icon.svg",
            "logo": f"{_ASSETS}/icon.svg",
            "features": ["navigation.tabs", "navigation.top", "toc.follow"],
            "palette": [
                _scheme("light", "default", "to dark colours", "material/weather-sunny"),
                _scheme("dark", "slate", "to light colours", "material/weather-night"),
            ],
        },
        # The offline plugin would add such a script from another site, were there none.
        "extra": {"polyfills": [f"{_ASSETS}/iframe-worker.js"], "generator": False},
        "extra_css": [f"{_ASSETS}/site.css"],
        "extra_javascript": [f"{_ASSETS}/filter.js"],
        "plugins": ["search", "offline"],
        "markdown_extensions": ["attr_list", {"toc": {"permalink": True}}],
        "nav": _navigation(docs),
        "not_in_nav": "/devices/*\n/models/*",
        # Links inside of our own HTML are not seen by mkdocs; a test follows them all.
        "validation": {"anchors": "ignore"},
    }


def _scheme(media: str, scheme: str, switch: str, icon: str) -> dict[str, Any]:
    return {
        "media": f"(prefers-color-scheme: {media})",
        "scheme": scheme,
        "primary": "custom",
        "accent": "custom",
        "toggle": {"icon": icon, "name": f"Switch {switch}"},
    }


def _navigation(docs: Documentation | None) -> list[Any]:
    navigation: list[Any] = [
        {"Matrix": pages.OVERVIEW},
        {"Devices": pages.DEVICES},
        {"Models": pages.MODELS},
        {"Predictions": pages.PREDICTIONS},
        {"Memory": pages.MEMORY},
        {"Trends": pages.TRENDS},
        {"How to read": pages.ABOUT},
    ]
    if docs:
        first, *rest = docs.pages
        entries = [{"Overview": first.path}, *({page.title: page.path} for page in rest)]
        navigation.append({"Documentation": entries})
    return navigation


def _copy_data(source: Path, data: Path) -> None:
    """What pages link to: never more of the folder than that."""
    data.mkdir()
    for name in ("matrix.json", "matrix.schema.json"):
        if (source / name).is_file():
            shutil.copyfile(source / name, data / name)
    for name in ("evidence", "badges"):
        if (source / name).is_dir():
            shutil.copytree(source / name, data / name)
