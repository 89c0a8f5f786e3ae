"""What stands in for a device: memory and CPU limits around a browser, and the virtual phone."""
