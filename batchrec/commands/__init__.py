"""Commands of the command line: their work and their output."""
