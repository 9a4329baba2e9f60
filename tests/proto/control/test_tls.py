"""What a handshake shows: the link of the chain that lacks, and who ended it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from preflight.model.tcp import Certificate, Handshake, HandshakeOutcome
from preflight.proto.control.tls import OLDER, demands_certificate, is_explained, names, trouble
from preflight.proto.control.url import ControlUrl

NOW = datetime(2026, 1, 2, tzinfo=UTC)
URL = ControlUrl("https", "c.mesh.example", 443, port_given=False)


def certificate(subject: str, issuer: str, *, place: str | None = None, names: tuple[str, ...] = ()) -> Certificate:
    life = (NOW - timedelta(days=1), NOW + timedelta(days=30))
    return Certificate(f"CN={subject}", f"CN={issuer}", names, *life, subject, issuer, place)


LEAF = certificate("c.mesh.example", "Middle CA", names=("c.mesh.example",))
MIDDLE = certificate("Middle CA", "Upper CA", place="http://pki.example/upper.der")
UPPER = certificate("Upper CA", "Root CA")
ROOT = certificate("Root CA", "Root CA")


def shaken(outcome: HandshakeOutcome, *chain: Certificate, detail: str = "", **more: object) -> Handshake:
    own = chain[0] if chain else None
    return Handshake("10.66.0.3", 443, outcome, 1.0, detail, None, own, chain=chain, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("chain", "missing"),
    [
        ((LEAF,), "Middle CA"),
        ((LEAF, MIDDLE), "Upper CA"),
        ((LEAF, UPPER, MIDDLE), "Root CA"),
        ((LEAF, UPPER), "Middle CA"),
        ((LEAF, MIDDLE, UPPER, ROOT), "Root CA"),
        ((certificate("self", "self"),), "self"),
    ],
)
def test_the_chain_is_followed_as_far_as_it_is_sent(chain: tuple[Certificate, ...], missing: str) -> None:
    """In any order, and never in a circle: the first issuer that is not there is the one to add, or to trust."""
    found = trouble(URL, shaken("untrusted", *chain, detail="unable to get local issuer certificate"), NOW)
    assert found.code.slug == "control.tls-untrusted"
    assert found.decided.certificate == missing
    assert missing in found.message
    assert ("pki.example" in found.message) == (missing == "Upper CA")
    assert ("does not send" in found.message) == (chain[-1].issuer != chain[-1].subject)


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (replace(ROOT, key_id="aa"), "with another key"),
        (LEAF, "the server's own certificate"),
        (replace(ROOT, key_id="bb"), "does not send"),
        (replace(UPPER, key_id="aa"), "does not send"),
    ],
)
def test_the_file_of_authorities_was_meant_for_this_server(held: Certificate, said: str) -> None:
    """A file with the server's own certificate, or with an older one of the same authority, is not a stranger's file.

    A new authority is only trusted after a look at the control host, so nothing is called a fix."""
    upper = replace(UPPER, issuer_key_id="bb")
    found = trouble(URL, shaken("untrusted", LEAF, MIDDLE, upper, authorities=(held,), trust="SSL_CERT_FILE"), NOW)
    assert said in found.message
    assert ("SSL_CERT_FILE" in found.message) == (said != "does not send")
    assert {remedy.kind for remedy in found.remedies} == {"next"}


def test_a_file_of_authorities_that_is_not_there() -> None:
    """OpenSSL says nothing of it and trusts nobody: the variable is the cause, and not the server's chain."""
    problem = "SSL_CERT_FILE names /etc/ca.pem: No such file or directory"
    found = trouble(URL, shaken("untrusted", LEAF, trust="SSL_CERT_FILE", trust_problem=problem), NOW)
    assert problem in found.message
    assert "does not send" not in found.message
    assert found.decided.problem == "SSL_CERT_FILE"
    assert [remedy.where for remedy in found.remedies] == ["node"]


def test_an_authority_out_of_date_is_named() -> None:
    """To renew the server's own certificate would not help: the one above it is replaced, where it is."""
    old = replace(MIDDLE, not_after=NOW - timedelta(hours=1))
    found = trouble(URL, shaken("expired", LEAF, old), NOW)
    assert (found.code.slug, found.decided.certificate) == ("control.tls-expired", "Middle CA")
    assert [(remedy.kind, remedy.where) for remedy in found.remedies] == [("fix", "control host")]
    held = trouble(URL, shaken("expired", LEAF, authorities=(old,), trust="control.ca_file"), NOW)
    assert "Middle CA" in held.message
    assert [(remedy.kind, remedy.where) for remedy in held.remedies] == [("next", "node")]
    untold = trouble(URL, shaken("expired", LEAF), NOW)
    assert untold.decided.certificate is None
    assert [remedy.kind for remedy in untold.remedies] == ["next"]


def test_an_unfit_certificate_is_no_matter_of_trust() -> None:
    """Too short a key has nothing to do with who signed it: nothing is said of an issuer that is missing."""
    found = trouble(URL, shaken("unfit", LEAF, detail="EE certificate key too weak"), NOW)
    assert (found.code.slug, found.decided.problem) == ("control.tls-untrusted", "EE certificate key too weak")
    assert "Middle CA" not in found.message
    assert [remedy.where for remedy in found.remedies] == ["control host"]


@pytest.mark.parametrize("why", ["invalid CA certificate", "permitted subtree violation", "path length exceeded"])
def test_a_signer_that_may_not_sign(why: str) -> None:
    """Another key would not help: another authority does."""
    found = trouble(URL, shaken("unfit", LEAF, detail=why), NOW)
    assert "signed by an authority" in found.remedies[0].lines[0]


def test_a_circle_of_authorities_ends() -> None:
    """A stranger's chain may be anything."""
    one, other = certificate("One", "Other"), certificate("Other", "One")
    assert trouble(URL, shaken("untrusted", one, other), NOW).decided.certificate == "One"


@pytest.mark.parametrize(
    ("outcome", "detail", "code", "problem", "station"),
    [
        ("failed", "SSLV3_ALERT_HANDSHAKE_FAILURE", "control.tls-failed", "cipher suite", "tls"),
        ("failed", "TLSV1_UNRECOGNIZED_NAME", "control.tls-failed", "SNI", "tls"),
        ("failed", "TLSV1_ALERT_INTERNAL_ERROR", "control.tls-failed", "internal error", "tls"),
        ("failed", "UNSUPPORTED_PROTOCOL", "control.tls-failed", "TLS version", "tls"),
        ("ca-file", "control.ca_file ca.pem cannot be used: it is empty", "control.tls-failed", "ca_file", "tls"),
        ("client-certificate", "TLSV13_ALERT", "control.client-certificate", "client certificate", "tls"),
        ("reset", "the connection was reset", "control.connection-reset", "reset", "connect"),
        ("timeout", "no TLS answer", "control.timeout", None, "connect"),
    ],
)
def test_who_ended_it(outcome: HandshakeOutcome, detail: str, code: str, problem: str | None, station: str) -> None:
    """The alert, or its absence, is the evidence; the problem's words are in the sentence."""
    found = trouble(URL, shaken(outcome, detail=detail), NOW)
    assert (found.code.slug, found.decided.problem, found.station) == (code, problem, station)
    assert problem is None or problem in found.message


@pytest.mark.parametrize(
    ("asks", "reply", "demands"),
    [
        (True, b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n", True),
        (True, b"HTTP/1.1 403 Forbidden\r\n\r\n", True),
        (True, b"HTTP/1.1 200 OK\r\n\r\n", False),
        (True, b"HTTP/1.1 400 Bad Request\r\nX-Populi-Feature: a\r\n\r\n", False),
        (False, b"HTTP/1.1 400 Bad Request\r\n\r\n", False),
        (True, b"", False),
        (True, b"SSH-2.0", False),
    ],
)
def test_a_demand_by_answer(asks: bool, reply: bytes, demands: bool) -> None:
    """Only a server that asked for a certificate in the handshake can refuse for the lack of one."""
    assert demands_certificate(shaken("trusted", LEAF, asks_certificate=asks, reply=reply)) is demands


def test_a_strangers_names_are_evidence_and_no_place() -> None:
    """Its names are shown, a few of them and printable; no remedy leads a bearer there."""
    many = certificate("x", "y", names=("other.example", *(f"n{number}.example" for number in range(9))))
    found = trouble(URL, shaken("name", many), NOW)
    assert found.decided.certificate == "other.example"
    assert "and 5 more" in names(many)
    assert not any("other.example" in line for remedy in found.remedies for line in remedy.lines)


def test_an_address_among_the_dns_names() -> None:
    """Protects from a sentence that says nothing: the certificate seems to be for the URL's address, and is not."""
    url = ControlUrl("https", "10.66.0.3", 8443)
    leaf = replace(certificate("c", "Root CA", names=("10.66.0.3",)), misplaced=("10.66.0.3",))
    found = trouble(url, shaken("name", leaf), NOW)
    assert found.code.slug == "control.tls-name"
    assert found.decided.problem == "DNS names"
    assert "DNS names" in found.message
    assert "subjectAltName=IP:10.66.0.3" in f"{found.remedies}"


@pytest.mark.parametrize("chain", [(LEAF, MIDDLE), (LEAF,)])
def test_an_intermediate_authority_in_the_place_of_the_root(chain: tuple[Certificate, ...]) -> None:
    """Protects the cause: the server sends what it must, and the file of this node has the wrong certificate."""
    found = trouble(URL, shaken("untrusted", *chain, authorities=(MIDDLE,), trust="control.ca_file"), NOW)
    assert "holds Middle CA, which is an intermediate authority" in found.message
    assert "Upper CA" in found.message
    root = trouble(URL, shaken("untrusted", LEAF, authorities=(ROOT,), trust="control.ca_file"), NOW)
    assert "intermediate authority: what" not in root.message


@pytest.mark.parametrize(
    ("detail", "explained"),
    [
        ("TLSV1_ALERT_PROTOCOL_VERSION", True),
        ("UNEXPECTED_EOF_WHILE_READING", False),
        ("no reason given", False),
        ("the connection was closed during the handshake", False),
    ],
)
def test_an_end_without_a_word_explains_nothing(detail: str, explained: bool) -> None:
    """Only then the server is offered an older version; that it takes one says what was wrong."""
    assert is_explained(shaken("failed", detail=detail)) is explained
    found = trouble(URL, shaken("failed", detail=f"{detail}, and {OLDER} (TLSv1.1)"), NOW)
    assert found.decided.problem == "TLS version"
