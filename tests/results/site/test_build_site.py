from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import pytest

from results.site import SiteError, build_site
from tests.results.site.examples import publish, trials

if TYPE_CHECKING:
    from pathlib import Path


def test_without_the_extra_it_is_said_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix, store = publish(trials()[:1], tmp_path)
    store.close()
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "vl_convert" else find(name)
    )
    with pytest.raises(SiteError, match=r"needs vl_convert: pip install 'tierlab\[site\]'"):
        build_site(matrix, tmp_path / "matrix", tmp_path / "site")
    assert not (tmp_path / "site").exists()
