"""Shared by tests and benchmarks: virtual time, models of the service, gates over them.

For tests alone: a caller of the emulator."""
