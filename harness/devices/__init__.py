"""Devices: what a lease is taken on, and the tabs that are opened there."""
