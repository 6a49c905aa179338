"""The small subcommands of `minibert`; each file holds the options and the function of one subcommand."""
