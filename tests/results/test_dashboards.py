"""Grafana dashboards: whole files, names that exist, and queries that a real InfluxDB answers."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.cli import main
from results.dashboards import DASHBOARDS
from results.dashboards.provisioning import DashboardsError, write_dashboards
from results.dashboards.query import Query, count, equals, mean
from results.dashboards.variables import DATASOURCE, MarkVariable, TagVariable, chosen
from results.influx.lines import lines_of, outbox_line
from results.influx.schema import MEASUREMENTS, TRIAL
from results.record import Judgement, Verdict
from tests.results.influx.influxd import BUCKET, Influxd, ask, running_influx
from tests.results.influx.varied import DAYS, FIRST_DAY, varied

if TYPE_CHECKING:
    from collections.abc import Iterator

    from results.dashboards.model import Dashboard
    from tests.results.influx.influxd import Row

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "influx-schema.md"
KNOWN = {measurement.name: measurement for measurement in MEASUREMENTS}
BY_NAME = {dashboard.name: dashboard for dashboard in DASHBOARDS}
PANELS = [
    pytest.param(dashboard, number, id=f"{dashboard.name}: {panel.title}")
    for dashboard in DASHBOARDS
    for number, panel in enumerate(dashboard.panels)
]
each_dashboard = pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda d: d.name)
each_panel = pytest.mark.parametrize(("dashboard", "number"), PANELS)


# ---- files ----


def test_every_file_is_written_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a folder"
    assert main(["dashboards", str(folder)]) == 0
    there = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert list(map(str, there)) == [
        "dashboards/tierlab-accuracy.json",
        "dashboards/tierlab-fleet.json",
        "dashboards/tierlab-memory.json",
        "dashboards/tierlab-outbox.json",
        "dashboards/tierlab-speed.json",
        "provisioning/dashboards/tierlab.yaml",
        "provisioning/datasources/tierlab.yaml",
    ]
    said = capsys.readouterr().out.splitlines()
    assert sorted(said) == [str(folder / path) for path in there]


def test_a_second_time_gives_the_same_files_and_leaves_others_alone(tmp_path: Path) -> None:
    first = {path: path.read_bytes() for path in write_dashboards(tmp_path)}
    own = tmp_path / "dashboards" / "own.json"
    own.write_text("{}")
    assert {path: path.read_bytes() for path in write_dashboards(tmp_path)} == first
    assert own.read_text() == "{}"


def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DashboardsError, match=r"file.*cannot be written.*\n  -> name a folder"):
        write_dashboards(tmp_path / "file")
    assert main(["dashboards", str(tmp_path / "file")]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_an_interrupted_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in write_dashboards(tmp_path)}

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("results.files.os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_dashboards(tmp_path, grafana_folder="/elsewhere")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


# ---- provisioning ----


def yaml(path: Path) -> Any:
    return pytest.importorskip("yaml").safe_load(path.read_text())


def test_the_datasource_is_the_one_that_the_dashboards_ask(tmp_path: Path) -> None:
    write_dashboards(tmp_path)
    found = yaml(tmp_path / "provisioning" / "datasources" / "tierlab.yaml")
    assert found["apiVersion"] == 1
    [datasource] = found["datasources"]
    assert {"type": datasource["type"], "uid": datasource["uid"]} == DATASOURCE
    assert datasource["jsonData"]["version"] == "InfluxQL"


def test_address_and_token_come_from_the_environment_and_are_in_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"URL": "http://secret-host:1", "BUCKET": "secret-bucket", "TOKEN": "secret-token"}
    for name, value in values.items():
        monkeypatch.setenv(f"TIERLAB_INFLUX_{name}", value)
    written = "".join(path.read_text() for path in write_dashboards(tmp_path))
    assert "secret" not in written
    datasource = yaml(tmp_path / "provisioning" / "datasources" / "tierlab.yaml")
    # As Grafana does it: only values, never keys.
    expanded = re.sub(
        r"\$TIERLAB_INFLUX_(\w+)", lambda found: values[found[1]], json.dumps(datasource)
    )
    [found] = json.loads(expanded)["datasources"]
    assert found["url"] == values["URL"]
    assert found["jsonData"]["dbName"] == values["BUCKET"]
    assert found["jsonData"]["httpHeaderName1"] == "Authorization"
    assert found["secureJsonData"] == {"httpHeaderValue1": f"Token {values['TOKEN']}"}


@pytest.mark.parametrize(
    ("named", "written"),
    [
        (None, None),
        ("/var/lib/grafana/dashboards", "/var/lib/grafana/dashboards"),
        ('/odd "path": #$HOME\\', '/odd "path": #$$HOME\\'),
    ],
)
def test_the_dashboards_are_looked_for_where_they_are(
    tmp_path: Path, named: str | None, written: str | None
) -> None:
    write_dashboards(tmp_path, grafana_folder=named)
    [provider] = yaml(tmp_path / "provisioning" / "dashboards" / "tierlab.yaml")["providers"]
    assert provider["type"] == "file"
    assert provider["options"]["path"] == (written or str(tmp_path / "dashboards"))


# ---- the model ----


def test_the_dashboards_are_five_and_told_apart() -> None:
    assert len({dashboard.uid for dashboard in DASHBOARDS}) == len(DASHBOARDS) == 5
    assert len({dashboard.title for dashboard in DASHBOARDS}) == 5
    assert all(len(dashboard.uid) <= 40 for dashboard in DASHBOARDS)  # Grafana's limit


@each_dashboard
def test_no_panel_lies_over_another_or_beside_the_grid(dashboard: Dashboard) -> None:
    taken: set[tuple[int, int]] = set()
    panels = dashboard.json()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken
        taken |= cells


@each_dashboard
def test_everything_that_is_shown_is_described(dashboard: Dashboard) -> None:
    assert dashboard.description
    for panel in dashboard.panels:
        assert panel.description.endswith(".")
        headings = {column.name for query in panel.queries for column in query.columns}
        sources = {column.source for query in panel.queries for column in query.columns}
        assert set(panel.units) <= headings | sources, "a unit of no column"


@each_dashboard
def test_every_variable_is_used_and_every_used_one_is_there(dashboard: Dashboard) -> None:
    texts = " ".join(query.text for panel in dashboard.panels for query in panel.queries)
    used = set(re.findall(r"\$(\w+)", texts)) - {"timeFilter", "__interval"}
    assert used == {variable.name for variable in dashboard.variables}


@each_dashboard
def test_a_variable_starts_with_one_of_its_choices(dashboard: Dashboard) -> None:
    for variable in dashboard.json()["templating"]["list"]:
        if variable["type"] == "custom":
            assert [o for o in variable["options"] if o["selected"]] == [variable["current"]]


@pytest.mark.parametrize("name", ["accuracy", "speed"])
def test_at_first_only_a_devices_own_figures_are_shown(name: str) -> None:
    marks = [v for v in BY_NAME[name].variables if isinstance(v, MarkVariable)]
    assert {mark.name: mark.chosen for mark in marks} == {
        "emulated": "false",
        "software_adapter": "false",
    }


# ---- names ----


@each_panel
def test_every_name_of_a_query_is_in_the_schema(dashboard: Dashboard, number: int) -> None:
    """Read from the text that Grafana gets, not from what the text was made of."""
    for target in dashboard.json()["panels"][number]["targets"]:
        text = re.sub(r' AS "[^"]*"', "", target["query"])
        measurement = KNOWN[re.search(r'FROM "(\w+)"', text)[1]]  # type: ignore[index]
        selected, _, rest = text.partition(" FROM ")
        fields = set(re.findall(r'"(\w+)"', selected))
        assert fields <= set(measurement.field_types) | measurement.tag_names
        tags = set(re.findall(r'"(\w+)"', rest.partition(" WHERE ")[2]))
        assert tags <= measurement.tag_names
        assert set(re.findall(r"\$tag_(\w+)", target["alias"])) <= tags, "a legend of no group"


@pytest.mark.parametrize(
    "query",
    [
        lambda: Query(TRIAL, (count("no_such_field"),)),
        lambda: Query(TRIAL, (mean("profile"),)),
        lambda: Query(TRIAL, (count("trial_id"),), (equals("no_such_tag", "x"),)),
        lambda: Query(TRIAL, (count("trial_id"),), (equals("trial_id", "x"),)),
        lambda: Query(TRIAL, (count("trial_id"),), by=("decode_tokens_per_s",)),
        lambda: TagVariable("trial_id", "trial"),
    ],
)
def test_a_name_that_is_not_in_the_schema_cannot_be_asked_for(query: Any) -> None:
    with pytest.raises(KeyError, match="trial has no"):
        query()


# ---- a real InfluxDB answers ----


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Influxd]:
    """A database with the lines of varied records, and of two hosts' outboxes."""
    folder = tmp_path_factory.mktemp("results")
    sent = [text for record in varied(folder) for text in lines_of(record, folder)]
    sent += [
        outbox_line(
            host=f"host-{number}",
            at=FIRST_DAY + timedelta(hours=number),
            waiting=number,
            parked=0,
            oldest_seconds=60.0,
        )
        for number in (1, 2)
    ]
    with running_influx() as influx:
        status, _, answer = ask(
            influx.influxd.port,
            "POST",
            f"/write?db={BUCKET}&precision=n",
            "\n".join(sent).encode(),
        )
        assert status == 204, answer
        yield influx.influxd


def as_grafana_sends_it(text: str, dashboard: Dashboard, **choices: list[str]) -> str:
    """The words of a query that Grafana replaces, replaced as its documentation says.

    Several values of a variable become an alternative of a regular expression, each escaped; what
    nothing is chosen for stands at its first choice.
    """
    begin = int(FIRST_DAY.timestamp() - 86_400) * 1000
    end = begin + (DAYS + 2) * 86_400_000
    words = {"timeFilter": f"time >= {begin}ms and time <= {end}ms", "__interval": "1h"}
    for variable in dashboard.json()["templating"]["list"]:
        values = choices.get(variable["name"], variable["current"]["value"])
        if values in (["$__all"], "$__all"):
            words[variable["name"]] = variable["allValue"]
        else:
            escaped = [re.sub(r"[\\^$*+?.()|\[\]{}/]", r"\\\g<0>", value) for value in values]
            words[variable["name"]] = (
                f"({'|'.join(escaped)})" if isinstance(values, list) else values
            )
    return re.sub(r"\$(\w+)", lambda found: words[found[1]], text)


def ask_panel(
    influxd: Influxd, dashboard: Dashboard, title: str, **choices: list[str]
) -> list[Row]:
    [panel] = [panel for panel in dashboard.panels if panel.title == title]
    [text] = [query.text for query in panel.queries]
    return influxd.query(as_grafana_sends_it(text, dashboard, **choices))


@pytest.mark.integration
@each_panel
def test_every_query_is_answered_with_data_in_every_column(
    filled: Influxd, dashboard: Dashboard, number: int
) -> None:
    for query in dashboard.panels[number].queries:
        rows = filled.query(as_grafana_sends_it(query.text, dashboard))
        assert rows
        assert len({tuple(row) for row in rows}) == 1
        for column in rows[0]:
            assert any(row[column] is not None for row in rows), (query.text, column)


@pytest.mark.integration
@each_dashboard
def test_every_choice_of_every_variable_gives_data(filled: Influxd, dashboard: Dashboard) -> None:
    for variable in dashboard.variables:
        if isinstance(variable, TagVariable):
            values = [row["value"] for row in filled.query(variable.query)]
            assert values
            field = variable.measurement.fields[0].name
            query = Query(variable.measurement, (count(field),), chosen(variable))
            counts = []
            for choice in (["$__all"], values, *([value] for value in values)):
                text = as_grafana_sends_it(query.text, dashboard, **{variable.name: choice})
                counts += [row["count"] for row in filled.query(text)]
            assert counts[0] == counts[1] == sum(counts[2:])


@pytest.mark.integration
def test_a_choice_leaves_the_others_out(filled: Influxd) -> None:
    fleet, title = BY_NAME["fleet"], "hosts"
    assert {row["profile"] for row in ask_panel(filled, fleet, title)} == {
        "desktop", "desktop-2g", "desktop-half-core", "pixel",
    }  # fmt: skip
    [row] = ask_panel(filled, fleet, title, profile=["pixel"])
    assert (row["profile"], row["host"], row["system"]) == ("pixel", "host-2", "Linux")
    assert not ask_panel(filled, fleet, title, profile=["pixe."]), "a value is no expression"


@pytest.mark.integration
def test_shares_are_those_of_the_records(filled: Influxd, tmp_path: Path) -> None:
    records = list(varied(tmp_path))
    own = [
        r for r in records
        if not r.device.emulated and not r.conditions.software_adapter
    ]  # fmt: skip
    judged = [r.judgement for r in own if r.judgement is not Judgement.UNKNOWN]
    accuracy, everything = BY_NAME["accuracy"], {"emulated": ["$__all"]}
    [row] = ask_panel(filled, accuracy, "predictions that were right")
    assert row["mean"] == pytest.approx(judged.count(Judgement.RIGHT) / len(judged))
    [row] = ask_panel(filled, accuracy, "judged trials")
    assert row["count"] == len(judged)
    [row] = ask_panel(filled, accuracy, "judged trials", **everything)
    assert row["count"] == len(judged) + sum(r.device.emulated for r in records)
    [row] = ask_panel(filled, BY_NAME["memory"], "OOMs")
    assert row["sum"] == sum(r.verdict is Verdict.OOM for r in records)
    [row] = ask_panel(filled, BY_NAME["fleet"], "failed by the lab's fault")
    assert row["mean"] == pytest.approx(
        sum(r.verdict is Verdict.INFRA for r in records) / len(records)
    )


@pytest.mark.integration
def test_the_confusion_matrix_counts_pairs_of_tiers(filled: Influxd) -> None:
    rows = ask_panel(filled, BY_NAME["accuracy"], "predicted tier against measured tier")
    pairs = {(row["predicted_tier"], row["tier"]): row["trials"] for row in rows}
    assert pairs == {
        ("low", "low"): 2 * DAYS, ("low", "unsupported"): DAYS, ("low", "high"): DAYS,
    }  # fmt: skip


@pytest.mark.integration
def test_each_browser_version_is_a_series(filled: Influxd) -> None:
    speed = BY_NAME["speed"]
    rows = ask_panel(filled, speed, "decode by browser version")
    assert {row["browser_version"] for row in rows} == {"140.0.1", "141.0.1", "142.0.1"}
    assert {row["runtime"] for row in rows} == {"wllama/wasm"}
    software = ask_panel(
        filled, speed, "decode by browser version", software_adapter=["true"],
        runtime=["mediapipe/webgpu"],
    )  # fmt: skip
    assert {row["runtime"] for row in software} == {"mediapipe/webgpu"}


@pytest.mark.integration
def test_the_memory_curves_are_those_of_what_died(filled: Influxd) -> None:
    [panel] = [p for p in BY_NAME["memory"].panels if "curves" in p.title]
    for query, peak in zip(panel.queries, (9, 30), strict=True):
        rows = filled.query(as_grafana_sends_it(query.text, BY_NAME["memory"]))
        assert {row["profile"] for row in rows} == {"desktop", "desktop-2g"}
        assert max(row["max"] for row in rows) == peak


# ---- what the documentation shows ----


@pytest.mark.integration
def test_the_documented_queries_are_answered(filled: Influxd) -> None:
    queries = re.findall(r"```sql\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert len(queries) == 4
    for text in queries:
        rows = filled.query(text)
        assert rows, text
        assert all(row[column] is not None for row in rows for column in row), text
