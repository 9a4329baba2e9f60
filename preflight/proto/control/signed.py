"""Requests that carry a signature in the place of a bearer, by a key that the control plane has never seen; pure.

The real server reads four headers where no bearer comes: an Ed25519 key, a number for this request, a UNIX time in
seconds, and the signature of `path.time.number`, key and signature in hex. Without a list of the keys
that it trusts it gives full rights to every one of them.
"""

KEY, SIGNATURE = "x-vox-node-pubkey", "x-vox-node-signature"
NONCE, TIMESTAMP = "x-vox-node-nonce", "x-vox-node-timestamp"
WINDOW_S = 300
"""How far the time may be from the server's."""


def signed_text(path: str, timestamp: str, nonce: str) -> bytes:
    """What is signed. path: as the control plane sees it, so without what a gateway takes away before it."""
    return f"{path}.{timestamp}.{nonce}".encode()


class Signer:
    """A key that is made for one run and kept nowhere."""

    def __init__(self) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # slow, and rarely needed

        self._key = Ed25519PrivateKey.generate()

    def headers(self, path: str, unix_s: float, nonce: str) -> dict[str, str]:
        """For one request. unix_s: what the server's clock says, seconds."""
        timestamp = str(int(unix_s))
        return {
            KEY: self._key.public_key().public_bytes_raw().hex(),
            SIGNATURE: self._key.sign(signed_text(path, timestamp, nonce)).hex(),
            NONCE: nonce,
            TIMESTAMP: timestamp,
        }
