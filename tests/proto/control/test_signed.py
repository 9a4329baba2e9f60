"""What replaces a bearer: four headers, as the real server reads them."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from preflight.proto.control.signed import Signer, signed_text

PATH = "/v1/populi/nodes"


def test_the_signature_covers_path_time_and_number() -> None:
    """Protects the proof of an open server: a header that it does not read would make each server look closed."""
    headers = Signer().headers(PATH, 1_700_000_000.9, "0f")
    assert headers["x-vox-node-timestamp"] == "1700000000"
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(headers["x-vox-node-pubkey"]))
    key.verify(bytes.fromhex(headers["x-vox-node-signature"]), b"/v1/populi/nodes.1700000000.0f")
    assert signed_text(PATH, headers["x-vox-node-timestamp"], headers["x-vox-node-nonce"]).count(b".") == 2


def test_each_run_has_a_key_of_its_own() -> None:
    """Protects this node: a key that stays would be something to trust, and to lose."""
    assert len({Signer().headers(PATH, 0, "0f")["x-vox-node-pubkey"] for _ in range(3)}) == 3
