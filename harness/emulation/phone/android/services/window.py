"""`dumpsys window`, `display`, `SurfaceFlinger`, `input_method`.

Sources: WindowManagerService.java, PhoneWindowManager.java, SurfaceFlinger.cpp and
InputMethodManagerService.java of AOSP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.emulation.phone.android.intents import full_component

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.emulation.phone.android.phone import Phone


def window(phone: Phone, words: Sequence[str]) -> str:
    """`dumpsys window` with its parts `policy`, `displays` and `windows`."""
    part = next(iter(words), "")
    if part in {"policy", "p"}:
        return _policy(phone)
    if part in {"displays", "d", "windows", "w", "visible", "visible-apps"}:
        return _displays(phone)
    return _policy(phone) + "\n" + _displays(phone)


def _policy(phone: Phone) -> str:
    screen = phone.state.screen
    locked = str(screen.locked or not screen.on).lower()
    word = "ON" if screen.on else "OFF"
    state = "AWAKE" if screen.on else "SLEEP"
    return (
        "WINDOW MANAGER POLICY STATE (dumpsys window policy)\n"
        "    mSafeMode=false mSystemReady=true mSystemBooted=true\n"
        f"    mCurrentUserId=0 screenState=SCREEN_STATE_{word}\n"
        f"    mAwake={str(screen.on).lower()}\n"
        f"    isKeyguardShowing={locked}\n"
        f"    mShowingLockscreen={locked} mShowingDream=false mDreamingLockscreen={locked}\n"
        "    KeyguardServiceDelegate\n"
        f"      showing={locked}\n"
        f"      inputRestricted={locked}\n"
        "      secure=false\n"
        f"      interactiveState=INTERACTIVE_STATE_{state}\n"
    )


def _displays(phone: Phone) -> str:
    screen = phone.state.screen
    width, height = screen.size
    activity = phone.resumed
    package = activity.partition("/")[0]
    shown = full_component(activity)
    focus = "NotificationShade" if screen.locked or not screen.on else shown
    return (
        "WINDOW MANAGER DISPLAY CONTENTS (dumpsys window displays)\n"
        "  Display: mDisplayId=0 (organized)\n"
        f"    init={screen.width}x{screen.height} {screen.density}dpi cur={width}x{height} "
        f"app={width}x{height} rng={width}x{width}-{height}x{height}\n"
        f"    mCurrentFocus=Window{{5c1d2e3 u0 {focus}}}\n"
        f"    mFocusedApp=ActivityRecord{{1a2b3c4 u0 {activity} t42}}\n"
        f"    mCurrentRotation={screen.rotation} mLastOrientation=-1\n"
        f"    SurfaceOrientation: {screen.rotation}\n"
        f"  mTopFocusedDisplayId=0\n"
        f"  mCurrentFocus=Window{{5c1d2e3 u0 {focus}}}\n"
        f"  mFocusedApp=ActivityRecord{{1a2b3c4 u0 {activity} t42}}\n"
        f"  mImeShowing=false package={package}\n"
    )


def display(phone: Phone, _: Sequence[str]) -> str:
    """`dumpsys display`."""
    screen = phone.state.screen
    state = "ON" if screen.on else "OFF"
    return (
        "DISPLAY MANAGER (dumpsys display)\n"
        "Display States: size=1\n"
        f"  Display Id=0\n  Display State={state}\n"
        f"  mScreenState={state}\n"
        f'  DisplayDeviceInfo{{"Built-in Screen": uniqueId="local:0", {screen.width} x '
        f"{screen.height}, modeId 1, renderFrameRate 60.0, density {screen.density}, "
        f"{screen.density}.0 x {screen.density}.0 dpi, state {state}}}\n"
    )


def surface_flinger(phone: Phone, _: Sequence[str]) -> str:
    """`dumpsys SurfaceFlinger`: the GPU's line only, with the profile's name of it.

    Which driver a phone of that name has is not known: the version says so.
    """
    gpu = phone.state.gpu
    vendor = next(
        (
            vendor
            for start, vendor in (
                ("Mali", "ARM"),
                ("Immortalis", "ARM"),
                ("Adreno", "Qualcomm"),
                ("PowerVR", "Imagination Technologies"),
                ("Xclipse", "Samsung Electronics Co., Ltd."),
            )
            if gpu.startswith(start)
        ),
        "unknown",
    )
    return (
        "Build configuration: [sf PRESENT_TIME_OFFSET=0 FORCE_HWC_FOR_RBG_TO_YUV=1]\n"
        "------------RE GLES------------\n"
        f"GLES: {vendor}, {gpu}, OpenGL ES 3.2 virtual\n"
    )


def input_method(phone: Phone, _: Sequence[str]) -> str:
    """`dumpsys input_method`."""
    del phone
    return (
        "Current Input Method Manager state:\n"
        "  mInputShown=false\n  mIsInputViewShown=false\n"
        "  mInteractive=true\n"
    )
