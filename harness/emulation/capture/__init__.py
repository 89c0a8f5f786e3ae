"""Capturing a phone: its answers, without what is personal, as a profile that others can use."""
