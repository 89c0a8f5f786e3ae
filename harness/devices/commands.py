"""`tierlab devices`: which devices can be used now, and what people say of them."""

from __future__ import annotations

import argparse
import getpass
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.text import Text

from harness.devices import health
from harness.devices.device_state import Note, change, phone_resource
from harness.devices.look import gather
from harness.devices.overview import Use, overview, resources_of
from harness.devices.places import PlacesSettings
from harness.devices.power_cycle import power_cycle
from harness.errors import UserError, nearest
from harness.profiles import load_profiles
from results.fleet.events import Event, EventKind, add_events, events
from results.store import FILE_NAME, Store
from results.table import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.devices.device_state import DeviceState
    from harness.devices.overview import DeviceLine, Facts, Overview, ProfileLine
    from harness.profiles import Profile

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

_EXAMPLES: Final = """\
examples:
  tierlab devices                              every profile: ready, or why not
  tierlab devices --json                       the same, for programs
  tierlab devices drain pixel7 --reason="new cable"
                                               no new job on any Pixel 7; a running one ends
  tierlab devices undrain pixel7
  tierlab devices note phone-1A2B "battery is swollen"
                                               maintenance: not used, and not checked
  tierlab devices note phone-1A2B --clear
  tierlab devices release phone-1A2B           end a quarantine; the next job checks it first
  tierlab devices check phone-1A2B             the health check, now
  tierlab devices recover phone-1A2B           the ladder: reconnect, restart adbd, reboot
  tierlab devices history phone-1A2B           what happened to it

A DEVICE is a resource (machine, phone-SERIAL, ios-PROFILE), a serial, or a profile: all of its."""
_HEALTH_KINDS: Final = (EventKind.HEALTH, EventKind.DEVICE, EventKind.LEASE)
_STYLES: Final = {Use.READY: "green", Use.UNHEALTHY: "yellow", Use.BUSY: "cyan", Use.NONE: "dim"}
_STYLES_ELSE: Final = "red"


def add_commands(subparsers: Subparsers) -> None:
    """Add `devices` and its actions; each sets `func`, which returns an exit code."""
    devices = subparsers.add_parser(
        "devices",
        help="which devices can be used now, and why the others cannot",
        description="One line a device profile: whether it can be used now, and why not.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    devices.add_argument("--json", action="store_true", help="for programs: one JSON document")
    devices.add_argument("--emulate", action="store_true", help="phones are virtual ones")
    devices.set_defaults(func=_show)
    actions = devices.add_subparsers(title="actions", metavar="ACTION")

    def action(
        name: str, func: Callable[[argparse.Namespace], int], summary: str
    ) -> argparse.ArgumentParser:
        parser = actions.add_parser(name, help=summary, description=f"{summary}.")
        parser.add_argument("device", metavar="DEVICE", help="a resource, a serial or a profile")
        parser.add_argument(
            "--results",
            type=Path,
            default=Path("tierlab-results"),
            help="whose journal has the device's history (default: %(default)s)",
        )
        parser.set_defaults(func=func)
        return parser

    drain = action("drain", _drain, "let a running job end, and begin no new one")
    drain.add_argument("--reason", default="", help="shown to whoever asks for the device")
    action("undrain", _undrain, "take jobs again")
    note = action("note", _note, "a maintenance note: the device is not used, and not checked")
    note.add_argument("text", nargs="?", help="what is the matter, or being done")
    note.add_argument("--clear", action="store_true", help="the maintenance is over")
    action("release", _release, "end a quarantine; the next job checks the device first")
    action("check", _check, "run the health check now")
    recover = action("recover", _recover, "help the device now, from the gentlest way to the last")
    recover.add_argument(
        "--power-cycle", metavar="COMMAND", help="the last way, such as 'uhubctl -l 1-1 -a cycle'"
    )
    action("history", _history, "what happened to the device, oldest first")


# ---- the list ----


def _show(options: argparse.Namespace) -> int:
    profiles = list(load_profiles().values())
    settings = PlacesSettings(emulate=options.emulate)
    found = overview(profiles, gather(profiles, settings))
    if options.json:
        print(found.model_dump_json(indent=1))  # noqa: T201 - for programs
    else:
        print_overview(Console(), found)
    return 0


def print_overview(console: Console, found: Overview) -> None:
    """One line a profile, and under it one a device where there are several."""
    one_line: dict[str, Any] = {"markup": False, "highlight": False, "soft_wrap": True}
    for line in found.profiles:
        console.print(_mark(line), Text(f"{line.profile:22}", "bold"), _told(line), **one_line)
        for device in line.devices if len(line.devices) > 1 else ():
            console.print(" " * 2, _mark(device), _told(device), **one_line)
    if found.others:
        console.print("attached, and of no profile:", style="dim", **one_line)
        for device in found.others:
            console.print(" " * 2, _mark(device), _told(device), **one_line)
    if found.hint:
        console.print(found.hint, style="dim", **one_line)


def _mark(line: ProfileLine | DeviceLine) -> Text:
    return Text(f"{line.use:12}", _STYLES.get(line.use, _STYLES_ELSE))


def _told(line: ProfileLine | DeviceLine) -> str:
    name = getattr(line, "name", None) or line.resource  # type: ignore[union-attr]
    why = f": {line.why}" if line.why else ""
    step = f" -> {line.next_step}" if line.next_step else ""
    return plain(f"{name}{why}{step}")


# ---- what people say of devices ----


def _drain(options: argparse.Namespace) -> int:
    note = _by_me(options.reason)

    def drain(state: DeviceState) -> DeviceState:
        if state.drained is not None and not note.text:
            return state  # who was first may have given a reason
        return state.model_copy(update={"drained": note})

    def drained(resource: str, facts: Facts) -> str:
        holder = facts.holders.get(resource)
        why = f" ({note.text})" if note.text else ""
        going_on = f"; {holder} goes on to its end" if holder else ""
        return f"{resource} is drained{why}: no job begins on it{going_on}"

    return _changed(options, drain, drained)


def _undrain(options: argparse.Namespace) -> int:
    return _changed(
        options,
        lambda s: s.model_copy(update={"drained": None}),
        lambda resource, _: f"{resource} takes jobs again",
    )


def _note(options: argparse.Namespace) -> int:
    if options.clear == (options.text is not None):
        raise UserError(
            "a note needs a text, or --clear", 'tierlab devices note phone-1A2B "new battery"'
        )
    note = None if options.clear else _by_me(options.text)
    words = "its maintenance is over" if options.clear else f"in maintenance: {options.text}"
    return _changed(
        options,
        lambda s: s.model_copy(update={"maintenance": note}),
        lambda resource, _: f"{resource}: {words}",
    )


def _release(options: argparse.Namespace) -> int:
    now, me = datetime.now(UTC), getpass.getuser()
    return _changed(
        options,
        lambda s: health.released(s, f"released by {me}; before: {s.reason}", now),
        lambda resource, _: f"{resource} is out of quarantine; its next job checks it first",
    )


def _by_me(text: str) -> Note:
    return Note(text=plain(text)[:500], by=getpass.getuser(), at=datetime.now(UTC))


def _changed(
    options: argparse.Namespace,
    how: Callable[[DeviceState], DeviceState],
    said: Callable[[str, Facts], str],
) -> int:
    """Change the state of the devices that are meant, tell it, and put it into the journal."""
    facts = _facts()
    console = Console(highlight=False, soft_wrap=True)
    for resource in named(options.device, facts):
        before: list[DeviceState] = []

        def kept(state: DeviceState, before: list[DeviceState] = before) -> DeviceState:
            before.append(state)
            return how(state)

        after = change(resource, kept)
        if after == before[-1]:
            console.print(f"{plain(resource)}: nothing to change", markup=False)
            continue
        text = said(resource, facts)
        console.print(plain(text), markup=False)
        _journal(
            options.results,
            Event.now(
                EventKind.DEVICE,
                f"{text} (by {getpass.getuser()})",
                resource=resource,
                profile=after.profile,
            ),
            console,
        )
    return 0


def named(word: str, facts: Facts) -> list[str]:
    """The resources that a word means: one by its name or serial, or all of a profile.

    Raises:
        UserError: nothing is known by that name, or nothing of the profile is there.
    """
    profiles = load_profiles()
    if word in profiles:
        profile = profiles[word]
        if profile.spec_sheet_only:
            raise UserError(f"{word} is a spec sheet only: there is no device", "name another")
        if found := resources_of(profile, facts):
            return found
        raise UserError(
            f"no {profile.name} ({word}) is attached, and none is known here",
            "`tierlab devices` shows all devices",
        )
    known = {"machine", *facts.states, *facts.holders}
    known |= {f"ios-{p.id}" for p in profiles.values() if p.kind == "ios"}
    serials = {phone.serial: phone_resource(phone.serial) for phone in facts.phones}
    known |= set(serials.values())
    resource = serials.get(word, word)
    if resource in known:
        return [resource]
    close = nearest(word, [*known, *serials, *profiles])
    hint = f"did you mean {' or '.join(close)}?" if close else "`tierlab devices` shows all devices"
    raise UserError(f"no device is known by the name {plain(word)!r}", hint)


def _facts() -> Facts:
    return gather(list(load_profiles().values()), PlacesSettings())


# ---- health, now ----


def _check(options: argparse.Namespace) -> int:
    return _examined(options, climb=False)


def _recover(options: argparse.Namespace) -> int:
    return _examined(options, climb=True)


def _examined(options: argparse.Namespace, *, climb: bool) -> int:
    """Check devices, or help them; 0 where all of them passed."""
    from harness.devices.examination import examine  # noqa: PLC0415 - it loads the browsers

    facts = _facts()
    console = Console(highlight=False, soft_wrap=True)
    passed = True
    for resource in named(options.device, facts):
        serial = _serial_of(resource, facts)
        hook = power_cycle(getattr(options, "power_cycle", None), serial=serial)
        finding = examine(
            resource,
            _profile_of(resource, facts),
            PlacesSettings(serial=serial, power_cycle=hook),
            options.results if options.results.is_dir() else None,
            climb=climb,
            say=lambda text: console.print(plain(text), markup=False),
            journal=lambda event: _journal(options.results, event, console),
        )
        state = "passed" if finding.passed else "failed"
        console.print(plain(f"{resource}: {state}: {finding.reason}"), markup=False)
        passed = passed and finding.passed
    return 0 if passed else 1


def _serial_of(resource: str, facts: Facts) -> str | None:
    """The serial of a phone, also of one that is away; None: it is no phone."""
    for phone in facts.phones:
        if phone_resource(phone.serial) == resource:
            return phone.serial
    if not resource.startswith("phone-"):
        return None
    # Of an address only the colon was replaced; no other serial ends so.
    return re.sub(r"_([0-9]{1,5})$", r":\1", resource.removeprefix("phone-"))


def _profile_of(resource: str, facts: Facts) -> Profile:
    """The profile that a device is checked as.

    Raises:
        UserError: it is of none that is known.
    """
    profiles = load_profiles().values()
    fits = [p for p in profiles if not p.spec_sheet_only and resource in resources_of(p, facts)]
    fits = [p for p in fits if p.id not in facts.blocked]
    if not fits:
        raise UserError(
            f"{plain(resource)} is of no profile that can be used here",
            "`tierlab devices` says why; `tierlab profile capture SERIAL` describes a new phone",
        )
    return fits[0]


# ---- the journal ----


def _journal(results: Path, event: Event, console: Console) -> None:
    """Put an event where a run of these results finds it; without results, there is no history."""
    if not (results / FILE_NAME).is_file():
        console.print(f"(not in a history: there are no results in {results})", style="dim")
        return
    with Store.open(results) as store:
        add_events(store, event)


def _history(options: argparse.Namespace) -> int:
    if not (options.results / FILE_NAME).is_file():
        raise UserError(
            f"{options.results}: there are no results here", "name those of the runs with --results"
        )
    console = Console(highlight=False, soft_wrap=True)
    for resource in named(options.device, _facts()):
        with Store.open(options.results) as store:
            found = events(store, resource=resource, kinds=_HEALTH_KINDS)
        if not found:
            console.print(f"{plain(resource)}: nothing is in the journal of {options.results}")
        for event in found:
            at = event.at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
            run = f" [run {event.run_id}]" if event.run_id else ""
            console.print(plain(f"{at}  {event.host}  {event.text}{run}"), markup=False)
    return 0
