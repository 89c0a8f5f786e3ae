"""Trials outside of browsers: prompts in native apps, and the user's own programs on phones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.ab import AS_INSTALLED
from harness.requested import Wanted

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.devices.android.binary.options import Asked, BinaryPlan
    from harness.devices.appium.asking import AskedApp
    from harness.leasing import Leased, Leasing
    from harness.profiles import Profile
    from harness.requested import Requested
    from harness.trial import TrialSettings
    from results.record import Record


class NativeWork:
    """Apps and programs on the phones of one laboratory; each is run once, and remembered.

    Args:
        settings: of the run.
        leasing: gives devices.
        requested: tries again, and stores.
        infra_retries: how many faults of the lab's are forgiven to a program.
        say: told in words.
    """

    def __init__(
        self,
        settings: TrialSettings,
        leasing: Leasing,
        requested: Requested,
        *,
        infra_retries: int,
        say: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._leasing = leasing
        self._requested = requested
        self._retries = infra_retries
        self._say = say
        self._apps: dict[tuple[str, AskedApp], Record] = {}
        self._binaries: dict[tuple[str, BinaryPlan], dict[Asked, Record]] = {}

    def ask_app(self, profile: Profile, asked: AskedApp) -> Record:
        """One prompt in a native app.

        Raises:
            UserError: the app is not on the phone, or something that Appium needs is missing.
        """
        from harness.devices.appium.app_record import workload_of  # noqa: PLC0415 - an extra

        key = (profile.id, asked)
        if key not in self._apps:
            model = asked.app.model(asked.question.model)
            workload = workload_of(asked.app, model, asked.question)
            wanted = Wanted(profile, workload, AS_INSTALLED, mark=str(asked))
            self._apps[key] = self._requested.fulfil(wanted, lambda at: self._ask(at, asked))
        return self._apps[key]

    async def _ask(self, at: Leased, asked: AskedApp) -> Record:
        from harness.devices.appium.native_app import run_native_app  # noqa: PLC0415 - an extra
        from harness.devices.ios.apps import IosApp  # noqa: PLC0415 - an extra
        from harness.devices.ios.native_app import run_ios_app  # noqa: PLC0415 - an extra

        run_id, results = self._settings.run_id, self._settings.results
        say = self._speaker(at.device.profile)
        if isinstance(asked.app, IosApp):
            record, _said = await run_ios_app(
                at.device,
                asked.app,
                asked.question,
                results=results,
                run_id=run_id,
                progress=say,
            )
            return record
        result = await run_native_app(
            at.device,
            asked.app,
            asked.question,
            results=results,
            run_id=run_id,
            apk=asked.apk,
            progress=say,
        )
        return result.record

    def run_binary(self, profile: Profile, plan: BinaryPlan) -> dict[Asked, Record]:
        """The user's program on a phone, once for each case.

        The model is pushed once for all cases, so that they are tried again within one lease; what
        an earlier attempt of the run has recorded is run again, and counts once.

        Raises:
            UserError: the program is none for this phone.
        """
        from harness.devices.android.binary.trials import run_plan  # noqa: PLC0415 - an extra

        async def run(at: Leased) -> dict[Asked, Record]:
            return await run_plan(
                at.device,
                plan,
                run_id=self._settings.run_id,
                results=self._settings.results,
                keep=lambda record: self._requested.keep(at, record),
                retries=self._retries,
                say=self._speaker(profile),
            )

        key = (profile.id, plan)
        if key not in self._binaries:
            self._binaries[key] = self._leasing.insist(key, profile, run)
        return self._binaries[key]

    def _speaker(self, profile: Profile) -> Callable[[str], None]:
        return lambda text: self._say(f"{profile.id}: {text}")
