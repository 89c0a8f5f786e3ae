"""The table of capabilities at the end of a run: a row a library and backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from results.record import Verdict
from results.table import NOTHING, VERDICT_STYLE, number, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from results.capability import Capability, Figure


def capability_table(capabilities: Sequence[Capability]) -> Table:
    """What each library did, how fast (median and number of repeats), and what stands for what."""
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    shown.add_column("device and library", overflow="fold")
    shown.add_column("ability and figures", overflow="fold")
    shown.add_column("verdict")
    for capability in capabilities:
        shown.add_row(_who(capability), _what(capability), _verdict(capability))
    return shown


def _who(capability: Capability) -> Text:
    marks = ", ".join(capability.marks)
    device = capability.device.profile + (f" ({marks})" if marks else "")
    return Text(plain(device)).append(
        f"\n{plain(capability.library)}/{plain(capability.backend)}", style="dim"
    )


def _what(capability: Capability) -> Text:
    lines = [capability.ability, *(_line(figure) for figure in capability.figures)]
    if capability.verdict is not Verdict.OK:
        lines.append(capability.reason)
    return Text("\n".join(plain(line) for line in lines) or NOTHING)


def _line(figure: Figure) -> str:
    spread = figure.spread
    return f"{figure.name}: {number(spread.median)} {figure.unit} (n={spread.n})"


def _verdict(capability: Capability) -> Text:
    return Text(capability.verdict, style=VERDICT_STYLE[capability.verdict])
