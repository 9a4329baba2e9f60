"""The public half of a key is the one that `wg pubkey` prints."""

from base64 import b64encode

import pytest

from preflight.overlay.keys import derive_public_key

AFTER_ONE_ITERATION = "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"


def test_the_vector_of_the_rfc() -> None:
    """RFC 7748 section 5.2: the base point times the scalar 9."""
    private = bytes([9, *bytes(31)])
    assert derive_public_key(private) == b64encode(bytes.fromhex(AFTER_ONE_ITERATION)).decode()


@pytest.mark.parametrize("length", [0, 31, 33])
def test_what_is_no_key(length: int) -> None:
    """A file that was cut short is reported, not taken for another key."""
    with pytest.raises(ValueError, match="32 bytes"):
        derive_public_key(bytes(length))
