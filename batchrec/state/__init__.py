"""The state folder of the user, and what is kept in it across jobs."""
