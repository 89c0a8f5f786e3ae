"""Predictions from a device's spec sheet alone, without the device.

A decoded token reads every weight once, and a prompt multiplies by every weight for each of its
tokens; what an engine makes of the bandwidth and of the operations that a spec sheet promises is
fitted to published figures (`published_figures.csv`, each row with its source).
"""
