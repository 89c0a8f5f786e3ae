"""What `dumpsys` prints, one module a family: pure functions from the phone to text."""
