"""Is there a new browser, or a new engine? Asked of each device in turn; a new one starts runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from buildbot.process.buildstep import BuildStep, ShellMixin
from buildbot.process.results import SUCCESS, WARNINGS
from twisted.internet import defer

from harness.fleet.buildbot.master_step import FLEET, MasterStep
from harness.fleet.buildbot.no_source import NO_SOURCE
from harness.fleet.buildbot.plan_steps import PLAN, SCHEDULE

if TYPE_CHECKING:
    from harness.fleet.buildbot.desk import Desk
    from harness.fleet.config import Fleet

_VERSIONS: Final = "versions"
_LONGEST: Final = 64 << 10


class ReadVersions(ShellMixin, BuildStep):
    """Asks the worker's device for its versions."""

    name = "versions"
    flunkOnFailure = False
    logEnviron = False
    timeout = 600

    description = "asking the device"
    descriptionDone = "asked the device"

    def __init__(self, desk: Desk, **rest: Any) -> None:
        super().__init__(**self.setupShellMixin(rest))
        self._fleet = desk.fleet

    @defer.inlineCallbacks
    def run(self) -> Any:
        """Ask; a device that cannot be used has no news."""
        device = self._fleet.device(self.getProperty("workername"))
        serial = [f"--serial={device.serial}"] if device.serial is not None else []
        command = yield self.makeRemoteShellCommand(
            command=[*FLEET, "versions", f"--device={device.profile}", *serial],
            collectStdout=True,
        )
        yield self.runCommand(command)
        if command.didFail() or len(command.stdout) > _LONGEST:
            return WARNINGS
        self.setProperty(_VERSIONS, command.stdout.strip(), "host")
        return SUCCESS


def has_versions(step: BuildStep) -> bool:
    """Whether the device told its versions."""
    return step.getProperty(_VERSIONS) is not None


class Compare(MasterStep):
    """Compares them with what the lab saw last, and starts what waits for something new."""

    name = "news?"
    flunkOnFailure = False

    @defer.inlineCallbacks
    def run(self) -> Any:
        """Note what is new, then start what is due."""
        device = self.desk.fleet.device(self.getProperty("workername"))
        code, said = yield self.desk.one_at_a_time.run(
            self.tierlab, "news", device.profile, self.getProperty(_VERSIONS)
        )
        if code != 0:
            return WARNINGS
        new = set(json.loads(said))
        due = due_schedules(self.desk.fleet, device.profile, new)
        for name in due:
            yield self._start(name, device.profile, f"a new {' and '.join(sorted(new))}")
        self.say(f"new: {', '.join(sorted(new)) or 'nothing'}; started: {', '.join(due) or 'none'}")
        return SUCCESS

    @defer.inlineCallbacks
    def _start(self, schedule: str, profile: str, why: str) -> Any:
        builder = yield self.master.data.updates.findBuilderId(PLAN)
        properties = {SCHEDULE: schedule, "devices": profile}
        yield self.master.data.updates.addBuildset(
            waited_for=False,
            scheduler="news",
            sourcestamps=[NO_SOURCE],
            reason=f"{profile}: {why}",
            properties={name: (value, "news") for name, value in properties.items()},
            builderids=[builder],
        )


def due_schedules(fleet: Fleet, profile: str, new: set[str]) -> list[str]:
    """The schedules that run on a device of the profile when this is new."""
    return [
        name
        for name, schedule in fleet.schedules.items()
        if new & set(schedule.on_new) and profile in fleet.profiles_of(schedule)
    ]


def news_steps(desk: Desk) -> list[BuildStep]:
    """The steps of the builder that looks for news on one device."""
    return [ReadVersions(desk), Compare(desk, doStepIf=has_versions)]
