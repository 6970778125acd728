"""Shared by tests and benchmarks: virtual time, models of the service, gates over them, a caller of the emulator."""
