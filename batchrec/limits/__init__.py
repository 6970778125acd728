"""Limits of an account: the gate before a service, its availability, rate and quota."""
