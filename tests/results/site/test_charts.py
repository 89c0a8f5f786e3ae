from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.site.charts import (
    COLOURS,
    Axis,
    Dated,
    Forecast,
    Hit,
    Moment,
    Point,
    forecast_chart,
    hits_chart,
    lines_chart,
    trend_chart,
)
from results.site.drawing import Drawer
from tests.results.site.examples import HOSTILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SVG = "{http://www.w3.org/2000/svg}"
STYLE = files("results.site").joinpath("assets/site.css").read_text(encoding="utf-8")
NAMES = [f"series {number}" for number in range(9)]


_DRAWER = Drawer()


@pytest.fixture(scope="module", autouse=True)
def _drawer() -> Iterator[None]:
    with _DRAWER:
        yield


def drawn(spec: dict[str, Any], title: str = "a title") -> ET.Element:
    return ET.fromstring(str(_DRAWER.draw(spec, title)))  # noqa: S314 - our own


def texts(svg: ET.Element) -> list[str]:
    return [element.text or "" for element in svg.iter(f"{SVG}text")]


def every_chart(names: list[str]) -> list[dict[str, Any]]:
    return [
        forecast_chart([Forecast(name, 1.0, 2.0, 3.0, 2.5) for name in names], Axis("decode")),
        hits_chart([Hit(name, 2.0, 1.0, 3.0, 2.5) for name in names], "decode"),
        lines_chart(
            [Point(name, float(x), float(x)) for name in names for x in range(3)],
            "seconds",
            "GB",
            limit=Moment(2.0, names[0]),
            moments=[Moment(1.0, names[-1])],
        ),
        trend_chart([Dated(name, name, 2.0, 1.0, 3.0) for name in names], "tokens"),
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_are_only_text(text: str) -> None:
    for spec in every_chart([text, "another"]):
        svg = drawn(spec, text)
        assert {element.tag for element in svg.iter()} <= {
            f"{SVG}{tag}" for tag in ("svg", "g", "path", "line", "text", "title", "rect")
        }
        named = [name for element in svg.iter() for name in element.attrib]
        assert not [name for name in named if name.startswith("on") or "href" in name]


def test_a_chart_is_one_image_with_a_title() -> None:
    svg = drawn(every_chart(NAMES)[0], "decode <speed> & more")
    assert svg.get("role") == "img"
    title = svg.find(f"{SVG}title")
    assert title is not None
    assert title.text == "decode <speed> & more"


def test_nothing_has_an_id_that_two_charts_of_a_page_could_share() -> None:
    for spec in every_chart(NAMES):
        assert not [e for e in drawn(spec).iter() if e.get("id") or "url(" in str(e.attrib)]


def test_more_series_than_colours_become_others() -> None:
    for spec in every_chart(NAMES)[1:]:
        assert "others" in texts(drawn(spec))
        assert NAMES[-1] not in [
            text for text in texts(drawn(spec)) if text.startswith(NAMES[-1] + " ")
        ]


def test_names_that_read_the_same_have_a_line_each() -> None:
    svg = drawn(forecast_chart([Forecast("x" * 99, 1, 2, 3, 2)] * 2, Axis("decode")))
    assert len({text for text in texts(svg) if text.startswith("x")}) == 2


def test_series_differ_in_shape_or_dash_as_well() -> None:
    hits, lines = (drawn(spec) for spec in every_chart(NAMES[:4])[1:3])
    points = [e for e in hits.iter() if e.get("fill") in COLOURS and e.get("d")]
    assert len({e.get("d") for e in points if "0,0" not in str(e.get("d"))}) >= 4
    dashes = {e.get("stroke-dasharray") for e in lines.iter() if e.get("stroke") in COLOURS}
    assert len(dashes) >= 4


def test_every_colour_has_its_counterpart_in_the_style_sheet() -> None:
    for number, colour in enumerate(COLOURS, 1):
        for kind in ("fill", "stroke"):
            rule = f'.tl-figure [{kind}="{colour}"] {{ {kind}: var(--tl-series-{number}); }}'
            assert rule in STYLE
        assert re.search(rf"--tl-series-{number}: {colour};", STYLE)


def test_what_is_no_series_takes_the_colour_of_the_page() -> None:
    for spec in every_chart(NAMES):
        fixed = {
            str(element.get(kind)).lower()
            for element in drawn(spec).iter()
            for kind in ("fill", "stroke")
            if element.get(kind) not in (None, "none", "transparent", "currentColor")
        }
        assert fixed <= set(COLOURS)


NUMBER = st.floats(allow_nan=False, allow_infinity=False)
ABOVE_ZERO = st.floats(min_value=1e-300, max_value=1e300)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.text(max_size=30), NUMBER, NUMBER), min_size=1, max_size=4),
    st.lists(st.tuples(st.text(max_size=30), ABOVE_ZERO, ABOVE_ZERO), min_size=1, max_size=4),
)
def test_any_text_and_figures_can_be_drawn(
    points: list[tuple[str, float, float]], hits: list[tuple[str, float, float]]
) -> None:
    lines = [Point(*point) for point in points]
    end = Moment(points[0][1], points[0][0])
    assert texts(drawn(lines_chart(lines, "s", "GB", limit=end, moments=[end])))
    assert texts(drawn(trend_chart([Dated(t, t, y, y, y) for t, _, y in points], "tokens")))
    assert texts(drawn(hits_chart([Hit(t, x, x, x, y) for t, x, y in hits], "decode")))
    forecast = [Forecast(t, None, x, None, y) for t, x, y in hits]
    assert texts(drawn(forecast_chart(forecast, Axis("decode", logarithmic=True))))


@pytest.mark.parametrize(
    "spec",
    [
        {"data": {"values": []}},
        {
            "data": {"values": [{"name": "a control character: \x1b"}]},
            "mark": "point",
            "encoding": {"x": {"field": "name", "type": "nominal"}},
        },
    ],
)
def test_what_cannot_be_drawn_is_a_chart_less_and_not_the_end(spec: dict[str, Any]) -> None:
    assert "could not be drawn" in str(_DRAWER.draw(spec, "nothing"))
    assert texts(drawn(every_chart(NAMES)[0]))


def test_where_nothing_can_be_drawn_no_time_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, starts = tmp_path / "draw.py", tmp_path / "starts"
    script.write_text(f"open({str(starts)!r}, 'a').write('x')", encoding="utf-8")
    monkeypatch.setattr("results.site.drawing._SCRIPT", script)
    with Drawer() as drawer:
        answers = {str(drawer.draw({}, "nothing")) for _ in range(9)}
    assert len(answers) == 1
    assert starts.read_text(encoding="utf-8") == "xxx"


def test_a_chart_that_takes_for_ever_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "draw.py"
    script.write_text("import time; time.sleep(60)", encoding="utf-8")
    monkeypatch.setattr("results.site.drawing._SCRIPT", script)
    monkeypatch.setattr("results.site.drawing._DEADLINE_SECONDS", 0.1)
    with Drawer() as drawer:
        assert "could not be drawn" in str(drawer.draw({}, "nothing"))


def _luminance(colour: str) -> float:
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["default", "slate"])
def test_series_stand_out_from_the_page(scheme: str) -> None:
    rules = STYLE.split(f'[data-md-color-scheme="{scheme}"] {{')[1].split("}")[0]
    colours = dict(re.findall(r"--(tl-page|tl-series-\d): (#[0-9a-f]{6});", rules))
    page = _luminance(colours.pop("tl-page"))
    assert len(colours) == len(COLOURS)
    for name, colour in colours.items():
        light, dark = sorted([page, _luminance(colour)], reverse=True)
        # WCAG 2.2, 1.4.11: what is needed to understand a graphic.
        assert (light + 0.05) / (dark + 0.05) >= 3, name
