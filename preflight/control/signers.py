"""The trap of the real server: a signature by any key replaces a bearer, where it does not know which keys to trust."""

from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from starlette.datastructures import Headers

from preflight.proto.control.signed import KEY, NONCE, SIGNATURE, TIMESTAMP, WINDOW_S, signed_text

Signers = Literal["nobody", "trusted", "everybody"]
"""Whose signature is looked at. `trusted`: of nobody yet, but the server says so with 403, as the real one."""


def is_signed(headers: Headers, path: str, now_s: float) -> bool:
    """Whether the request carries a good signature of a recent time, by whichever key."""
    key, signature, nonce, timestamp = (headers.get(name) for name in (KEY, SIGNATURE, NONCE, TIMESTAMP))
    if key is None or signature is None or nonce is None or timestamp is None:
        return False
    if not (timestamp.isascii() and timestamp.isdigit()) or abs(now_s - int(timestamp[:12])) >= WINDOW_S:
        return False
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
        public.verify(bytes.fromhex(signature), signed_text(path, timestamp, nonce))
    except (ValueError, InvalidSignature):
        return False
    return True
