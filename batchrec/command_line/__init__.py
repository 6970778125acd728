"""Parts of the command line as it is typed: pages of help, shared options, groups of commands."""
