"""`dumpsys battery`, `thermalservice`, `power`, `deviceidle`.

Sources: BatteryService.java, ThermalManagerService.java, PowerManagerService.java of AOSP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.emulation.phone.android.phone import Phone

#: What a temperature of the SoC is above the skin's, at most (celsius); a phone at rest.
_SOC_ABOVE_SKIN = 6.0


def battery(phone: Phone, _: Sequence[str]) -> str:
    """`dumpsys battery`."""
    state = phone.state.battery
    dock = "  Dock powered: false\n" if phone.state.api >= 33 else ""  # noqa: PLR2004 - Android 13
    return (
        "Current Battery Service state:\n"
        "  AC powered: false\n"
        f"  USB powered: {str(state.plugged).lower()}\n"
        "  Wireless powered: false\n"
        f"{dock}"
        f"  Max charging current: {500_000 if state.plugged else 0}\n"
        f"  Max charging voltage: {5_000_000 if state.plugged else 0}\n"
        f"  Charge counter: {state.level * 42_000}\n"
        f"  status: {state.status}\n"
        "  health: 2\n"
        "  present: true\n"
        f"  level: {state.level}\n"
        "  scale: 100\n"
        f"  voltage: {state.voltage_mv}\n"
        f"  temperature: {round(state.celsius * 10)}\n"
        "  technology: Li-ion\n"
    )


def thermal(phone: Phone, _: Sequence[str]) -> str:
    """`dumpsys thermalservice`."""
    state = phone.state.thermal
    status, skin = state.shown, state.celsius
    soc = skin + _SOC_ABOVE_SKIN
    rows = "".join(
        f"\tTemperature{{mValue={value:.1f}, mType={kind}, mName={name}, mStatus={shown}}}\n"
        for value, kind, name, shown in (
            (skin, 3, "VIRTUAL-SKIN", status),
            (soc, 0, "BIG", 0),
            (soc, 1, "G3D", 0),
            (phone.state.battery.celsius, 2, "battery", 0),
        )
    )
    return (
        f"IsStatusOverride: {str(state.override is not None).lower()}\n"
        "ThermalEventListeners:\n\tcallbacks: 1\n\tkilled: false\n\tbroadcasts count: -1\n"
        "ThermalStatusListeners:\n\tcallbacks: 2\n\tkilled: false\n\tbroadcasts count: -1\n"
        f"Thermal Status: {status}\n"
        f"Cached temperatures:\n{rows}"
        "HAL Ready: true\n"
        "HAL connection:\n\tThermalHAL AIDL 1  connected: yes\n"
        f"Current temperatures from HAL:\n{rows}"
        "Current cooling devices from HAL:\n"
        f"\tCoolingDevice{{mValue={min(status, 3)}, mType=2, mName=thermal-cpufreq-0}}\n"
        "Temperature static thresholds from HAL:\n"
        "\tTemperatureThreshold{mType=3, mName=VIRTUAL-SKIN, mHotThrottlingThresholds=[NaN, 39.0, "
        "43.0, 45.0, 46.5, 52.0, 55.0], mColdThrottlingThresholds=[NaN, NaN, NaN, NaN, NaN, NaN, "
        "NaN]}\n"
    )


def power(phone: Phone, _: Sequence[str]) -> str:
    """`dumpsys power`."""
    state = phone.state
    on = state.screen.on
    stay_on = state.settings["global"].get("stay_on_while_plugged_in", "0")
    awake = "Awake" if on else "Asleep"
    return (
        "POWER MANAGER (dumpsys power)\n\n"
        "Power Manager State:\n"
        "  Settings power_manager_constants:\n"
        "    no_cached_wake_locks=true\n"
        f"  mWakefulness={awake}\n"
        "  mWakefulnessChanging=false\n"
        f"  mIsPowered={str(state.battery.plugged).lower()}\n"
        f"  mPlugType={2 if state.battery.plugged else 0}\n"
        f"  mBatteryLevel={state.battery.level}\n"
        f"  mStayOn={str(stay_on != '0' and state.battery.plugged).lower()}\n"
        "  mBootCompleted=true\n"
        "  mSystemReady=true\n"
        "  mHalAutoSuspendModeEnabled=false\n"
        "  mHalInteractiveModeEnabled=true\n"
        f"  mStayOnWhilePluggedInSetting={stay_on}\n"
        f"  mScreenOffTimeoutSetting="
        f"{state.settings['system'].get('screen_off_timeout', '30000')}\n"
        f"Display Power: state={'ON' if on else 'OFF'}\n"
    )


def deviceidle(phone: Phone, words: Sequence[str]) -> str | None:
    """`dumpsys deviceidle`, with the words of its shell that test tools use."""
    state = phone.state
    match list(words):
        case []:
            return (
                f"  mScreenOn={str(state.screen.on).lower()}\n"
                f"  mCharging={str(state.battery.plugged).lower()}\n"
                "  mState=ACTIVE\n  mLightState=ACTIVE\n"
            )
        case ["enabled", *_]:
            return f"{int(state.doze)}\n"
        case ["enable" | "disable" as how, *_]:
            state.doze = how == "enable"
            return f"Deep idle mode {how}d\nLight idle mode {how}d\n"
        case ["whitelist" | "except-idle-whitelist"]:
            rows = (
                f"user,{name},{state.packages[name].uid}\n"
                for name in sorted(state.awake)
                if name in state.packages
            )
            return "system-excidle,com.android.shell,2000\n" + "".join(rows)
        case ["whitelist" | "except-idle-whitelist", *changes]:
            return "".join(_allow(phone, change) for change in changes)
        case _:
            return None


def _allow(phone: Phone, change: str) -> str:
    """`+package` or `-package` for the list of apps that doze does not touch."""
    sign, name = change[:1], change[1:]
    if sign not in {"+", "-"} or name not in phone.state.packages:
        return f"Unknown package: {name}\n"
    if sign == "+":
        phone.state.awake.add(name)
        return f"Added: {name}\n"
    phone.state.awake.discard(name)
    return f"Removed: {name}\n"
