"""What a file of trusted authorities holds, and what is wrong with one that holds none."""

from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from preflight.net.tcp.certificates import authorities, trust_file, unusable, wrong_format

PEM = trustme.CA(organization_name="Home").cert_pem.bytes()
DER = x509.load_pem_x509_certificate(PEM).public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    ("content", "wrong"),
    [(PEM, ""), (DER, "it is in DER, and must be in PEM"), (b" \n", "it is empty"), (b"x", "it holds no certificate")],
)
def test_what_is_wrong_with_a_file(tmp_path: Path, content: bytes, wrong: str) -> None:
    """A file in DER is what many authorities give away, and no library says so."""
    file = tmp_path / "ca"
    file.write_bytes(content)
    assert wrong_format(file).startswith(wrong)
    assert bool(wrong_format(file)) == bool(wrong)
    assert ["Home" in each.subject for each in authorities(file)] == ([True] if content is PEM else [])


def test_a_missing_file_holds_nothing(tmp_path: Path) -> None:
    """The system's own words say why it cannot be read."""
    assert (authorities(tmp_path / "none"), wrong_format(tmp_path / "none"), wrong_format(None)) == ((), "", "")


def test_the_keys_are_read() -> None:
    """By them two authorities of the same name differ."""
    from preflight.net.tcp.certificates import read_certificate

    found = read_certificate(DER)
    assert found is not None
    assert found.key_id


def test_which_file_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting wins over the variable, and the variable over the system's store; what cannot be used is named."""
    own, empty = tmp_path / "own.pem", tmp_path / "empty.pem"
    empty.write_text("")
    monkeypatch.setenv("SSL_CERT_FILE", str(empty))
    assert trust_file(own) == ("control.ca_file", own)
    assert trust_file(None) == ("SSL_CERT_FILE", empty)
    assert unusable(own) == "No such file or directory"
    assert unusable(empty) == "it is empty"
    monkeypatch.delenv("SSL_CERT_FILE")
    assert trust_file(None) == ("", None)
