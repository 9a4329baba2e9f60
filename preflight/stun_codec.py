"""aioice's codec of STUN messages, without the rest of it.

The package's own `__init__` loads ICE, and for the names of its candidates the whole of dnspython.
"""

from preflight.bare_package import enter

enter("aioice")

from aioice.stun import Class, Message, Method, parse_message  # noqa: E402 - past the package's __init__

__all__ = ["Class", "Message", "Method", "parse_message"]
