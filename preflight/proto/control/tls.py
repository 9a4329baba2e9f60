"""What a TLS handshake with the control plane shows: the finding, the sentence and what to do; pure.

A name in a stranger's certificate is never a place for this node's bearers, and its issuer nobody to trust.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from preflight import codes
from preflight.codes import Code
from preflight.model.facts import DeathFacts
from preflight.model.host_port import join_host_port
from preflight.model.printable import excerpt
from preflight.model.remedy import Remedies, by_hand, look
from preflight.model.tcp import Certificate, Handshake
from preflight.proto.control.http import header, status_of
from preflight.proto.control.populi import FEATURE_HEADER
from preflight.proto.control.url import ControlUrl

NAMES_SHOWN, NAME_SHOWN = 5, 80
RENEW = by_hand(
    "Renew the certificate of the TLS terminator in front of the control plane, and reload it.", where="control host"
)
CODES: dict[str, Code] = {
    "expired": codes.CONTROL_TLS_EXPIRED,
    "not-yet-valid": codes.CONTROL_TLS_NOT_YET_VALID,
    "untrusted": codes.CONTROL_TLS_UNTRUSTED,
    "unfit": codes.CONTROL_TLS_UNTRUSTED,
    "ca-file": codes.CONTROL_TLS_FAILED,
    "name": codes.CONTROL_TLS_NAME,
    "client-certificate": codes.CONTROL_CLIENT_CERTIFICATE,
    "reset": codes.CONTROL_CONNECTION_RESET,
    "failed": codes.CONTROL_TLS_FAILED,
    "timeout": codes.CONTROL_TIMEOUT,
    "refused": codes.CONTROL_REFUSED,
    "unreachable": codes.CONTROL_UNREACHABLE,
}
INTERNAL_ERROR, VERSION, DNS_NAMES = "internal error", "TLS version", "DNS names"
OLDER = "an older version is accepted"
_TOO_OLD = ("ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", OLDER)
_NEWER_TLS = by_hand(
    "Let the TLS terminator in front of the control plane accept TLS 1.2 and 1.3.", where="control host"
)
_FIT = by_hand(
    "Issue another certificate that clients accept: a key of RSA with 2048 bits or more or of P-256, a signature with "
    "SHA-256, and the purpose serverAuth.",
    where="control host",
)
_OTHER_AUTHORITY = {
    "invalid CA certificate": "Have the certificate signed by an authority whose certificate says CA:TRUE.",
    "subtree violation": "Have the certificate signed by an authority whose name constraints permit this name.",
    "path length": "Have the certificate signed by an authority whose path length permits it.",
    "critical extension": "Issue another certificate without the critical extension that clients do not know.",
}
"""What heals where the key, the signature and the purpose are right, by words of OpenSSL's reason."""
_EOF = "UNEXPECTED_EOF"
_NO_COMMON, COMMON = "ALERT_HANDSHAKE_FAILURE", "cipher suite"
_COMMON_SUITES = look(
    "nginx -T | grep -nE 'ssl_(ciphers|ecdh_curve|protocols)'   # clients need ECDHE with AES-GCM or ChaCha20",
    where="control host",
    root=True,
)
_READABLE = by_hand(
    "Let control.ca_file in preflight.yaml name a file with the authority's certificate in PEM; openssl x509 -inform "
    "der -in FILE -out FILE.pem converts one from DER."
)
_ASKS_FOR_ONE = (400, 403, 495, 496)
"""How gateways answer to a client that was asked for a certificate and has none."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a handshake. station: where the request died."""

    code: Code
    message: str
    remedies: Remedies = ()
    decided: DeathFacts = DeathFacts()
    station: str = "tls"


def demands_certificate(handshake: Handshake) -> bool:
    """Whether the server does not serve a client without a certificate: by an alert, or by its answer."""
    if handshake.outcome == "client-certificate":
        return True
    refused = handshake.asks_certificate and status_of(handshake.reply) in _ASKS_FOR_ONE
    return refused and header(handshake.reply, FEATURE_HEADER) is None


def is_explained(handshake: Handshake) -> bool:
    """Whether OpenSSL's words for a failure say what it is: they are in capitals; others say that it ended."""
    return re.match(r"[A-Z0-9]+(_[A-Z0-9]+)+$", handshake.detail) is not None and _EOF not in handshake.detail


def trouble(url: ControlUrl, handshake: Handshake, now: datetime) -> Trouble:
    """What kept a client from a good handshake. The clock of the server is judged elsewhere."""
    place = f"{url.host} ({handshake.place})"
    shake = f"openssl s_client -connect {join_host_port(url.host, url.port)} -servername {url.host} </dev/null"
    certificate = handshake.certificate
    if demands_certificate(handshake):
        return _demanded(handshake, place)
    if handshake.outcome in ("timeout", "refused", "unreachable"):
        message = f"no TLS handshake with {place}: {handshake.detail}"
        return Trouble(CODES[handshake.outcome], message, look(shake), station="connect")
    if handshake.outcome == "reset":
        message = f"{place} accepts the connection and sends a reset to the first message of TLS ({handshake.detail})"
        return Trouble(CODES["reset"], message, look(shake), DeathFacts(problem="reset"), "connect")
    if handshake.outcome == "ca-file":
        message = f"{handshake.detail}; so no client on this node that uses it connects to {place}"
        return Trouble(CODES["ca-file"], message, _READABLE, DeathFacts(problem="ca_file"))
    if handshake.outcome == "failed" or certificate is None:
        return _failed(url, handshake, place, shake)
    match handshake.outcome:
        case "name":
            return _other_name(url, certificate, place, shake)
        case "untrusted":
            return _untrusted(handshake, certificate, place, shake)
        case "unfit":
            return _unfit(handshake, certificate, place)
    return _out_of_date(handshake, certificate, place, shake, now)


def _demanded(handshake: Handshake, place: str) -> Trouble:
    said = f"answers {status_of(handshake.reply)} without one" if handshake.reply else f"ends it ({handshake.detail})"
    message = (
        f"{place} demands a client certificate: it asks for one in the handshake and {said}; workers send a bearer and "
        "no certificate"
    )
    sentence = "Take the demand for client certificates from the gateway in front of the control plane."
    remedies = by_hand(sentence, where="control host")
    return Trouble(codes.CONTROL_CLIENT_CERTIFICATE, message, remedies, DeathFacts(problem="client certificate"))


def _failed(url: ControlUrl, handshake: Handshake, place: str, shake: str) -> Trouble:
    detail, decided = handshake.detail, DeathFacts()
    message = f"the TLS handshake with {place} failed: {detail}"
    asked = f"the name {url.host}" if url.address is None else "no name, for the URL has an address"
    if "ALERT_INTERNAL_ERROR" in detail:
        decided = DeathFacts(problem=INTERNAL_ERROR)
        message += (
            f". With this alert, {INTERNAL_ERROR}, servers written in Go such as Caddy and Traefik end a handshake for "
            f"which they have no certificate; this one asks by SNI for {asked}"
        )
    elif "UNRECOGNIZED_NAME" in detail:
        decided = DeathFacts(problem="SNI")
        message += f"; the server serves no site that the handshake asks for by SNI, which was {asked}"
    elif "WRONG_VERSION_NUMBER" in detail:
        message += "; the server there does not speak TLS"
    elif any(words in detail for words in _TOO_OLD):
        message += f"; the server accepts no {VERSION} that clients offer, which are 1.2 and 1.3"
        return Trouble(codes.CONTROL_TLS_FAILED, message, _NEWER_TLS, DeathFacts(problem=VERSION))
    elif _NO_COMMON in detail:
        message += f"; with this alert servers say that they share no {COMMON} or curve with a client"
        return Trouble(codes.CONTROL_TLS_FAILED, message, (*_COMMON_SUITES, *look(shake)), DeathFacts(problem=COMMON))
    return Trouble(codes.CONTROL_TLS_FAILED, message, look(shake), decided)


def speaks_plain(url: ControlUrl, handshake: Handshake, remedies: Remedies) -> Trouble:
    """The server was asked without TLS, and answered."""
    message = f"the URL {url} says https, and {url.host} ({handshake.place}) answers in plain HTTP, without TLS"
    return Trouble(codes.CONTROL_TLS_FAILED, message, remedies, DeathFacts(problem="plain HTTP"))


def _other_name(url: ControlUrl, certificate: Certificate, place: str, shake: str) -> Trouble:
    own = _shown(certificate.subject_name) if certificate.subject_name and not certificate.names else None
    decided = DeathFacts(certificate=_shown(certificate.names[0]) if certificate.names else own)
    remedies: Remedies = (
        *by_hand(f"Issue a certificate for {url.host} at the control plane.", where="control host"),
        *look(f"{shake}   # which server is this?"),
    )
    message = f"the certificate of {place} is for {names(certificate)}, not for {url.host}"
    if url.host in certificate.misplaced:
        remedies = by_hand(
            f"Issue a certificate with subjectAltName=IP:{url.host} instead of DNS:.", where="control host"
        )
        decided = replace(decided, problem=DNS_NAMES)
        message = (
            f"the certificate of {place} has {url.host} among its {DNS_NAMES}, where clients do not look for an "
            "address: for them it is for another host"
        )
    if own is not None:
        decided = replace(decided, problem="subjectAltName")
        message = (
            f"the certificate of {place} has no subjectAltName, which names the hosts that it is for; clients ignore "
            f"its common name, {own}, so it is not for {url.host}"
        )
    return Trouble(codes.CONTROL_TLS_NAME, message, remedies, decided)


def _untrusted(handshake: Handshake, certificate: Certificate, place: str, shake: str) -> Trouble:
    """The chain is followed as far as the server sends it: what lacks is the issuer of its last certificate."""
    last = _end_of_chain(certificate, handshake.chain)
    issuer = _shown(last.issuer_name or last.issuer) or "without a name"
    decided = DeathFacts(certificate=issuer)
    message = f"the certificate of {place} is not trusted here: {handshake.detail}; issuer {issuer}"
    if (mistaken := _wrong_authority(certificate, last, handshake)) is not None:
        sentence = f"Put the certificate of {issuer} that the control host has into the file of {handshake.trust}."
        decided = replace(decided, problem=handshake.trust)
        return Trouble(codes.CONTROL_TLS_UNTRUSTED, f"{message}. {mistaken}", look(sentence), decided)
    trusting = "control: {ca_file: /path/to/the-ca-that-signed-it.pem}   # in preflight.yaml, if it is yours"
    if last.issuer == last.subject:
        message += ", an authority that vouches for itself only and that this node does not trust"
        return Trouble(codes.CONTROL_TLS_UNTRUSTED, message, look(trusting), decided)
    message += (
        f". The server does not send the certificate of {issuer}, and this node does not trust it: if it is an "
        "intermediate authority, the server must send it"
    )
    if last.issuer_place is not None:
        message += f"; its certificate says where that one is: {_shown(last.issuer_place)}"
    sentence = f"Append the certificate of {issuer} to the server's certificate file, if it is an intermediate."
    remedies = (*look(sentence, where="control host"), *look(trusting, f"{shake} -showcerts"))
    return Trouble(codes.CONTROL_TLS_UNTRUSTED, message, remedies, decided)


def _wrong_authority(own: Certificate, last: Certificate, handshake: Handshake) -> str | None:
    """What is wrong with the file of trusted authorities, where it shows that it was meant for this server."""
    authorities, trust = handshake.authorities, handshake.trust
    if handshake.trust_problem:
        return f"{_shown(handshake.trust_problem)}; so no authority of that file is trusted"
    if own in authorities:
        return f"The file of {trust} holds the server's own certificate in the place of its issuer's"
    above = next((each for each in authorities if each.subject == last.issuer and each.subject != each.issuer), None)
    between = above or next((each for each in authorities if each in handshake.chain), None)
    if between is not None and between.subject != between.issuer:
        return (
            f"The file of {trust} holds {_shown(between.subject_name or between.subject)}, which is an intermediate "
            f"authority: what is needed there is its issuer, {_shown(between.issuer_name or between.issuer)}"
        )
    named = [each.key_id for each in authorities if each.subject == last.issuer and each.key_id]
    if named and last.issuer_key_id and last.issuer_key_id not in named:
        return (
            f"The file of {trust} has a certificate of that name with another key: the authority was renewed, or this "
            "is another one"
        )
    return None


def _unfit(handshake: Handshake, certificate: Certificate, place: str) -> Trouble:
    """The certificate is refused for what it is; who has signed it does not matter."""
    message = f"clients refuse the certificate of {place} for what it is: {handshake.detail}"
    decided = DeathFacts(certificate=_shown(certificate.subject_name), problem=_shown(handshake.detail))
    other = next((line for words, line in _OTHER_AUTHORITY.items() if words in handshake.detail), None)
    remedies = _FIT if other is None else by_hand(other, where="control host")
    return Trouble(codes.CONTROL_TLS_UNTRUSTED, message, remedies, decided)


def _end_of_chain(own: Certificate, chain: Sequence[Certificate]) -> Certificate:
    """The last certificate of the chain that the server sends: nobody in it is the issuer of that one."""
    by_subject = {certificate.subject: certificate for certificate in chain}
    last, seen = own, {own.subject}
    while (above := by_subject.get(last.issuer)) is not None and above.subject not in seen:
        seen.add(above.subject)
        last = above
    return last


def _out_of_date(handshake: Handshake, certificate: Certificate, place: str, shake: str, now: datetime) -> Trouble:
    expired = handshake.outcome == "expired"
    remedies = RENEW if expired else look(f"{shake} | openssl x509 -noout -dates")
    if certificate.not_before <= now <= certificate.not_after:
        return _signer_out_of_date(handshake, place, now)
    when = certificate.not_after if expired else certificate.not_before
    verb = "expired on" if expired else "is not valid before"
    message = f"the certificate of {place} {verb} {day(when)}; this node's clock says {day(now)}"
    return Trouble(CODES[handshake.outcome], message, remedies)


def _signer_out_of_date(handshake: Handshake, place: str, now: datetime) -> Trouble:
    """The server's own certificate is in date, and one above it is not: renewing its own would not help."""
    code = CODES[handshake.outcome]
    above = (*handshake.chain[1:], *handshake.authorities)
    bad = next((each for each in above if not each.not_before <= now <= each.not_after), None)
    message = f"the certificate of {place} is in date, and one above it is {handshake.outcome}"
    if bad is None:
        sentence = "See which certificate of the chain is out of date, and replace that one where it is."
        return Trouble(code, message, look(sentence, where="control host"))
    name = _shown(bad.subject_name or bad.subject)
    until = f"was valid until {day(bad.not_after)}" if bad.not_after < now else f"is valid from {day(bad.not_before)}"
    message += f": that of {name} {until}; this node's clock says {day(now)}"
    decided = DeathFacts(certificate=name)
    if bad in handshake.chain:
        sentence = f"Put the current certificate of {name} into the server's certificate file, and reload the server."
        return Trouble(code, message, by_hand(sentence, where="control host"), decided)
    sentence = f"Put the current certificate of {name} into the file of {handshake.trust}."
    return Trouble(code, f"{message}; it is in the file of {handshake.trust}", look(sentence), decided)


def names(certificate: Certificate) -> str:
    """A few of the certificate's names, which are untrusted text, for a message."""
    shown = [_shown(name) for name in certificate.names[:NAMES_SHOWN]]
    more = [f"and {len(certificate.names) - NAMES_SHOWN} more"] if len(certificate.names) > NAMES_SHOWN else []
    return ", ".join([*shown, *more]) or "no name"


def day(moment: datetime) -> str:
    """A moment, to the minute."""
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def _shown(text: str) -> str:
    return excerpt(text, NAME_SHOWN)
