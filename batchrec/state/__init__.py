"""State folder of the user and what is kept in it across jobs; rules for files of an output directory."""
