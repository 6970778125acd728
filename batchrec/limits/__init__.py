"""What an account allows: the gate before a service, its rate and its quota."""
