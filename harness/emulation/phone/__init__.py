"""The virtual phone: a process that a real adb server takes for an Android device.

    async with virtual_phone(profile, work=folder) as phone:    # start.py
        phone.address, phone.missing                            # adb connect 127.0.0.1:PORT
        await phone.control("unplug", seconds=3)                # faults.py, and Android's own

From outside to inside: `supervisor` (the host's process: port, memory group, folder), `isolation`
and `root` (namespaces, file system; `landlock` where there are none), `inside` and `daemon` (the
phone's process), `transport`, `streams`, `protocol` (adb), `services` with `shell`, `sync`,
`sockets`, and behind the seam of `command` the Android in `android/`.
"""
