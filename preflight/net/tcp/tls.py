"""TLS contexts of a client: the one that trusts as a worker does, and the one that only looks."""

import ssl
from pathlib import Path


def client_context(ca_file: Path | None) -> ssl.SSLContext:
    """Verify chain, name and dates, against `ca_file` if there is one, else the system's store. Raises OSError."""
    return ssl.create_default_context(cafile=ca_file)


def observing_context() -> ssl.SSLContext:
    """Verify nothing: to look at a certificate that was refused. Nothing secret may be sent over it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
