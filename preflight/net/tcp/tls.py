"""TLS contexts of a client: the one that trusts as a worker does, and the one that only looks."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any


def client_context(ca_file: Path | None) -> ssl.SSLContext:
    """Verify chain, name and dates, against `ca_file` if there is one, else the system's store. Raises OSError.

    Newer versions of Python also refuse authorities that lack formal fields, as many home-made ones do; workers do not.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.hostname_checks_common_name = False  # as workers, which read the names of subjectAltName alone
    return context


def observing_context() -> ssl.SSLContext:
    """Verify nothing: to look at a certificate that was refused. Nothing secret may be sent over it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def hear_certificate_requests(context: ssl.SSLContext, heard: Callable[[], object]) -> None:
    """Call `heard` when a server asks for a certificate of the client, in any version of TLS."""

    def message(_connection: Any, direction: str, _version: Any, _content: Any, kind: Any, _data: bytes) -> None:
        if direction == "read" and getattr(kind, "name", "") == "CERTIFICATE_REQUEST":
            heard()

    # The module shows the messages of a handshake by this hook only, which its own tests use.
    context._msg_callback = message  # type: ignore[attr-defined]


def sent_chain(tls: ssl.SSLObject) -> list[bytes]:
    """The certificates that the server sent, DER, its own first."""
    own = getattr(tls, "get_unverified_chain", None)  # since Python 3.13
    if own is not None:
        return list(own() or [])
    inner = getattr(tls, "_sslobj", None)
    found = inner.get_unverified_chain() if inner is not None else None
    return [ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in found or []]
