"""Tests of schedules, notifications, metrics, logs and the check of the environment."""
