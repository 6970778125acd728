"""Nightly runs: schedules of cron and systemd, notifications, metrics, a check of the environment."""
