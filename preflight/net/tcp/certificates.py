"""Certificates as plain data: those that a server sends, and those in a file of trusted authorities."""

import os
import warnings
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from preflight.files import beginning
from preflight.model.tcp import Certificate

if TYPE_CHECKING:
    from cryptography import x509

LARGEST_FILE = 1 << 20
VARIABLE = "SSL_CERT_FILE"
"""What replaces the system's store of authorities for programs that use OpenSSL, or read it as OpenSSL does."""
_PEM, _DER = b"-----BEGIN", b"\x30\x82"


def wrong_format(ca_file: Path | None) -> str:
    """What is wrong with the content of a file that holds no PEM certificate; nothing where it cannot be read."""
    content = _content(ca_file)
    if content is None or _PEM in content:
        return ""
    if not content.strip():
        return "it is empty"
    return "it is in DER, and must be in PEM" if content.startswith(_DER) else "it holds no certificate in PEM"


def trust_file(ca_file: Path | None) -> tuple[str, Path | None]:
    """Which setting or variable names the file of trusted authorities, and the file; none for the system's store."""
    if ca_file is not None:
        return "control.ca_file", ca_file
    named = os.environ.get(VARIABLE)
    return (VARIABLE, Path(named)) if named else ("", None)


def unusable(ca_file: Path) -> str:
    """Why a file gives no authority: it is not there, may not be read, or holds none; else nothing."""
    try:
        beginning(ca_file, LARGEST_FILE)
    except OSError as error:
        return error.strerror or type(error).__name__
    return wrong_format(ca_file)


def authorities(ca_file: Path) -> tuple[Certificate, ...]:
    """The certificates in a file of trusted authorities."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old authorities of the system's store violate RFC 5280 too
        try:
            found = x509.load_pem_x509_certificates(_content(ca_file) or b"")
        except ValueError:
            return ()
    return tuple(filter(None, (read_certificate(each.public_bytes(Encoding.DER)) for each in found)))


def _content(ca_file: Path | None) -> bytes | None:
    try:
        return None if ca_file is None else beginning(ca_file, LARGEST_FILE)
    except OSError:
        return None


def read_certificate(der: bytes) -> Certificate | None:
    """A DER certificate as plain data; None if it cannot be parsed. Its texts are a stranger's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about fields that violate RFC 5280
        try:
            return _read(der)
        except Exception:  # a stranger's bytes: the parser also raises TypeError and others, not only its own errors
            return None


def _read(der: bytes) -> Certificate:
    from cryptography import x509
    from cryptography.x509.oid import AuthorityInformationAccessOID

    certificate = x509.load_der_x509_certificate(der)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        access = x509.AuthorityInformationAccess([])
    try:
        own = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex()
    except x509.ExtensionNotFound:
        own = None
    try:
        above = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        above = None
    issuers = AuthorityInformationAccessOID.CA_ISSUERS
    places = [each.access_location.value for each in access if each.access_method == issuers]
    dns_names = names.get_values_for_type(x509.DNSName)
    addresses = tuple(str(address) for address in names.get_values_for_type(x509.IPAddress))
    return Certificate(
        subject_name=_name(certificate.subject),
        issuer_name=_name(certificate.issuer),
        issuer_place=next((str(place) for place in places), None),
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        names=(*dns_names, *addresses),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        key_id=own,
        issuer_key_id=above.hex() if above else None,
        misplaced=tuple(name for name in dns_names if _is_address(name) and name not in addresses),
    )


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _name(name: "x509.Name") -> str:
    from cryptography.x509.oid import NameOID

    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(common[0].value) if common else name.rfc4514_string()
