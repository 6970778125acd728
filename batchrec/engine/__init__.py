"""A run of a job: setup, the engine with its lanes, recording, and how it ended."""
