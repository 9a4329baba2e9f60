"""Certificates for the control plane of a lab: a good one, and each kind of bad one."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from preflight.lab.blueprint import INTERMEDIATE, OTHER_NAME, SERVER_NAME, Certificate
from preflight.lab.topology import CONTROL_NAME, CONTROL_SHORT

_Authority = tuple[ec.EllipticCurvePrivateKey, x509.Certificate]


def write_certificates(kind: Certificate, server: Path, clients: Sequence[Path], *addresses: str) -> None:
    """Put `tls.pem` and `tls.key` into the server's directory and `ca.pem`, their trusted CA, into the clients'.

    It is for these addresses and for the control host's names. The server also gets `other.pem` and `other.key`, a
    good pair for another name.
    """
    now = datetime.now(UTC)
    ca_key, ca = _authority("Preflight lab CA", now, depth=1)
    trusted = _authority("Another CA", now)[1] if kind == "untrusted" else ca
    if kind == "no-intermediate":  # and the server does not send it
        ca_key, ca = _authority(INTERMEDIATE, now, signer=(ca_key, ca))
        (server / "intermediate.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    signer = None if kind == "self-signed" else (ca_key, ca)
    life = _LIVES[kind](now) if kind in _LIVES else _life(now)
    named: list[x509.GeneralName] = [x509.IPAddress(ip_address(address)) for address in dict.fromkeys(addresses)]
    named += [x509.DNSName(CONTROL_NAME), x509.DNSName(CONTROL_SHORT)]
    other: list[x509.GeneralName] = [x509.DNSName(OTHER_NAME)]
    misplaced: list[x509.GeneralName] = [x509.DNSName(address) for address in dict.fromkeys(addresses)]
    others = {"no-names": [], "other-name": other, "address-as-name": misplaced}
    names = others.get(kind, named)
    _write_server(server / "tls", names, life, signer)
    _write_server(server / "other", other, _life(now), (ca_key, ca))
    for client in clients:
        (client / "ca.pem").write_bytes(trusted.public_bytes(serialization.Encoding.PEM))


def _write_server(
    stem: Path, names: Sequence[x509.GeneralName], life: tuple[datetime, datetime], signer: _Authority | None
) -> None:
    """The certificate and the key of a server with these names, or with its common name only.

    signer: itself, if there is none.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    ca_key, issuer = (signer[0], signer[1].subject) if signer else (key, _called(SERVER_NAME))
    builder = (
        x509.CertificateBuilder()
        .subject_name(_called(SERVER_NAME))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(life[0])
        .not_valid_after(life[1])
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    leaf = builder.sign(ca_key, hashes.SHA256())
    stem.with_suffix(".pem").write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    _write_key(stem.with_suffix(".key"), key)


def write_identities(folders: Mapping[str, Path], authority: Path, *, server: str) -> None:
    """Put `openvpn.pem`, `openvpn.key` and `openvpn-ca.pem` into each node's folder: one CA, a certificate a node.

    authority: the folder that keeps the CA with its key, for `sign_identity`.
    """
    now = datetime.now(UTC)
    signer = _authority("Preflight lab OpenVPN CA", now)
    _write_key(authority / "openvpn-ca.key", signer[0])
    for folder in (authority, *folders.values()):
        (folder / "openvpn-ca.pem").write_bytes(signer[1].public_bytes(serialization.Encoding.PEM))
    for node, folder in folders.items():
        use = ExtendedKeyUsageOID.SERVER_AUTH if node == server else ExtendedKeyUsageOID.CLIENT_AUTH
        _write_identity(folder, node, use, _life(now), signer)


def sign_identity(folder: Path, node: str, authority: Path, *, expired: bool = False, foreign: bool = False) -> None:
    """Another certificate of OpenVPN for a client. foreign: of a CA that nobody knows."""
    now = datetime.now(UTC)
    signer = _authority("Another CA", now) if foreign else _kept_authority(authority)
    life = _LIVES["expired"](now) if expired else _life(now)
    _write_identity(folder, node, ExtendedKeyUsageOID.CLIENT_AUTH, life, signer)


def trust_another(folder: Path) -> None:
    """Let a node of OpenVPN trust another CA than the one that signed the others' certificates."""
    stranger = _authority("Another CA", datetime.now(UTC))[1]
    (folder / "openvpn-ca.pem").write_bytes(stranger.public_bytes(serialization.Encoding.PEM))


def _kept_authority(folder: Path) -> _Authority:
    key = serialization.load_pem_private_key((folder / "openvpn-ca.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key, x509.load_pem_x509_certificate((folder / "openvpn-ca.pem").read_bytes())


def _write_identity(
    folder: Path, node: str, use: x509.ObjectIdentifier, life: tuple[datetime, datetime], signer: _Authority
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = (
        x509.CertificateBuilder()
        .subject_name(_called(node))
        .issuer_name(signer[1].subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(life[0])
        .not_valid_after(life[1])
        .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        .sign(signer[0], hashes.SHA256())
    )
    (folder / "openvpn.pem").write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    _write_key(folder / "openvpn.key", key)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


_LIVES: Mapping[Certificate, Callable[[datetime], tuple[datetime, datetime]]] = {
    "expired": lambda now: (now - timedelta(days=90), now - timedelta(days=1)),
    "not-yet": lambda now: (now + timedelta(days=1), now + timedelta(days=90)),
    "in-minutes": lambda now: (now + timedelta(minutes=5), now + timedelta(days=90)),
    "expiring": lambda now: (now - timedelta(days=85), now + timedelta(days=5)),
}


def _authority(name: str, now: datetime, *, depth: int = 0, signer: _Authority | None = None) -> _Authority:
    """An authority. depth: how many authorities may be below it; signer: who vouches for it, itself by default."""
    key = ec.generate_private_key(ec.SECP256R1())
    first, last = _life(now)
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_called(name))
        .issuer_name(signer[1].subject if signer else _called(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(first)
        .not_valid_after(last)
        .add_extension(x509.BasicConstraints(ca=True, path_length=depth), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key((signer[0] if signer else key).public_key()),
            critical=False,
        )
        .sign(signer[0] if signer else key, hashes.SHA256())
    )
    return key, certificate


def _called(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _life(now: datetime) -> tuple[datetime, datetime]:
    # An hour back, in case a node's clock is slow; valid for longer than the warning about near expiry.
    return now - timedelta(hours=1), now + timedelta(days=90)
