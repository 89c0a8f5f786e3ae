"""What a phone says of itself: a tolerant, pure parser for each source, and all of them at once.

A fact that cannot be had is None, and `PhoneFacts.missing` says why. Nothing is guessed.
"""

from harness.devices.android.facts.read import PhoneFacts, read_facts, read_vulkan_devices

__all__ = ["PhoneFacts", "read_facts", "read_vulkan_devices"]
