"""Limits of an account: the gate before a service, its rate and its quota."""
