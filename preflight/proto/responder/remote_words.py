"""The words between a responder in one file and the side that starts it over ssh."""

OLDEST = (3, 9)
"""The Python that runs the file."""
ORDERED = "--ordered"
"""The only word of a command line that is followed by an order on standard input, one line of JSON."""
MARK = "preflight-responder "
"""Begins each line that the responder writes for the starting side: a login shell may print more."""
LISTENING = "listening"
PYTHON = "python"
TAKEN = "taken"
ABSENT = "absent"
ERROR = "error"
"""What follows the mark: the place, its Python that is too old, its port that is in use, its address that is on no
interface there, or any other reason not to start."""
