"""Certificates for the control plane of a lab: a good one, and each kind of bad one."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from preflight.lab.blueprint import Certificate
from preflight.lab.topology import CONTROL_NAME, CONTROL_SHORT


def write_certificates(kind: Certificate, server: Path, clients: Sequence[Path], *addresses: str) -> None:
    """Put `tls.pem` and `tls.key` into the server's directory and `ca.pem`, their trusted CA, into the clients'.

    It is for these addresses and for the control host's names.
    """
    now = datetime.now(UTC)
    ca_key, ca = _authority("Preflight lab CA", now)
    trusted = _authority("Another CA", now)[1] if kind == "untrusted" else ca
    life = _LIVES[kind](now) if kind in _LIVES else _life(now)
    named: list[x509.GeneralName] = [x509.IPAddress(ip_address(address)) for address in dict.fromkeys(addresses)]
    named += [x509.DNSName(CONTROL_NAME), x509.DNSName(CONTROL_SHORT)]
    if kind == "other-name":
        named = [x509.DNSName("other.example")]
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = (
        x509.CertificateBuilder()
        .subject_name(_called("Preflight lab control plane"))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(life[0])
        .not_valid_after(life[1])
        .add_extension(x509.SubjectAlternativeName(named), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    (server / "tls.pem").write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    _write_key(server / "tls.key", key)
    for client in clients:
        (client / "ca.pem").write_bytes(trusted.public_bytes(serialization.Encoding.PEM))


def write_identities(folders: Mapping[str, Path], *, server: str) -> None:
    """Put `openvpn.pem`, `openvpn.key` and `openvpn-ca.pem` into each node's folder: one CA, a certificate a node."""
    now = datetime.now(UTC)
    ca_key, ca = _authority("Preflight lab OpenVPN CA", now)
    for node, folder in folders.items():
        key = ec.generate_private_key(ec.SECP256R1())
        use = ExtendedKeyUsageOID.SERVER_AUTH if node == server else ExtendedKeyUsageOID.CLIENT_AUTH
        first, last = _life(now)
        leaf = (
            x509.CertificateBuilder()
            .subject_name(_called(node))
            .issuer_name(ca.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(first)
            .not_valid_after(last)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
            .sign(ca_key, hashes.SHA256())
        )
        (folder / "openvpn.pem").write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
        _write_key(folder / "openvpn.key", key)
        (folder / "openvpn-ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


_LIVES: Mapping[Certificate, Callable[[datetime], tuple[datetime, datetime]]] = {
    "expired": lambda now: (now - timedelta(days=90), now - timedelta(days=1)),
    "expiring": lambda now: (now - timedelta(days=85), now + timedelta(days=5)),
}


def _authority(name: str, now: datetime) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    first, last = _life(now)
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_called(name))
        .issuer_name(_called(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(first)
        .not_valid_after(last)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return key, certificate


def _called(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _life(now: datetime) -> tuple[datetime, datetime]:
    # An hour back, in case a node's clock is slow; valid for longer than the warning about near expiry.
    return now - timedelta(hours=1), now + timedelta(days=90)
