"""Android devices: phones that a real adb server is connected to, real or virtual."""
