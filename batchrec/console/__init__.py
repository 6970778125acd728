"""Terminal: progress, messages and data."""
