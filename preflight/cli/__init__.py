"""The command line; every heavy import lives inside the command that needs it."""
