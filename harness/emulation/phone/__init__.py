"""The virtual phone: a process that adb takes for an Android device."""
