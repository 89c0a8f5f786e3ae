"""When runs start: at night, by hand, and what is looked at periodically."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from buildbot.schedulers.forcesched import (
    ChoiceStringParameter,
    CodebaseParameter,
    ForceScheduler,
    StringParameter,
)
from buildbot.schedulers.triggerable import Triggerable

from harness.fleet.buildbot.plan_steps import BY_HAND, CHOICES, PLAN, RUN_ID, SCHEDULE
from harness.fleet.buildbot.reporter import collect_builder
from harness.fleet.buildbot.timed import Daily, Every
from harness.models import MODELS, QUANTISATIONS
from harness.runtimes import RUNTIMES

if TYPE_CHECKING:
    from harness.fleet.config import Fleet, Schedule

FORCE: Final = "start"
JOBS: Final = "jobs"
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def news_builder(profile: str) -> str:
    """The name of the builder that looks for news on devices of a profile."""
    return f"news-{profile}"


def watched(fleet: Fleet) -> list[str]:
    """The profiles on whose devices something new is looked for."""
    return [
        profile
        for profile in fleet.profiles
        if any(s.on_new and profile in fleet.profiles_of(s) for s in fleet.schedules.values())
    ]


def schedulers(fleet: Fleet) -> list[Any]:
    """All schedulers of a lab."""
    hosts = dict.fromkeys(device.host for device in fleet.devices)
    every = int(fleet.controller.collect_every)
    return [
        # Buildbot wants one for each builder; `StartRun` queues jobs by itself.
        Triggerable(name=JOBS, builderNames=fleet.profiles),
        *(_nightly(name, schedule) for name, schedule in fleet.schedules.items() if schedule.at),
        _by_hand(fleet),
        *(
            Every(
                name=f"every-{collect_builder(host)}",
                builderNames=[collect_builder(host)],
                periodicBuildTimer=every,
            )
            for host in hosts
        ),
        *(
            Every(
                name=f"every-{news_builder(profile)}",
                builderNames=[news_builder(profile)],
                periodicBuildTimer=every,
            )
            for profile in watched(fleet)
        ),
    ]


def _nightly(name: str, schedule: Schedule) -> Any:
    """A run at a time of day. One that was missed, as the master was down, starts with it."""
    hour, minute = (int(part) for part in str(schedule.at).split(":"))
    return Daily(
        name=name,
        builderNames=[PLAN],
        hour=hour,
        minute=minute,
        dayOfWeek=[_DAYS.index(day) for day in schedule.days] or "*",
        properties={SCHEDULE: name},
    )


def _by_hand(fleet: Fleet) -> Any:
    """The form on the web page, which the REST interface takes as well."""
    choices = {
        "devices": [*fleet.profiles, *(device.name for device in fleet.devices)],
        "models": list(MODELS),
        "runtimes": ["best", "all", *RUNTIMES],
        "quants": list(QUANTISATIONS),
    }
    assert tuple(choices) == CHOICES
    return ForceScheduler(
        name=FORCE,
        buttonName="Start a run",
        builderNames=[PLAN],
        codebases=[CodebaseParameter("", hide=True)],
        reason=StringParameter(name="reason", label="why", default="by hand", size=60),
        properties=[
            ChoiceStringParameter(
                name=SCHEDULE,
                label="schedule; what is chosen below goes before it",
                choices=[*fleet.schedules, BY_HAND],
                default=next(iter(fleet.schedules), BY_HAND),
            ),
            *(
                ChoiceStringParameter(
                    name=name,
                    label=f"{name} (none: as the schedule says)",
                    choices=words,
                    multiple=True,
                    default=[],
                )
                for name, words in choices.items()
            ),
            StringParameter(
                name=RUN_ID, label="run to go on with (none: a new one)", regex=RUN_ID_OR_NOTHING
            ),
        ],
    )


RUN_ID_OR_NOTHING: Final = r"^([A-Za-z0-9][A-Za-z0-9._-]{0,99})?$"
