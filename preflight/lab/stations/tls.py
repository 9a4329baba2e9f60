"""Faults of the TLS handshake with the control plane."""

import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING

from preflight.lab.axes.setup import Setup
from preflight.lab.blueprint import INTERMEDIATE, OTHER_NAME, SERVER_NAME, Blueprint, Certificate
from preflight.lab.part import Part
from preflight.lab.site import CONTROL
from preflight.lab.stations import asks
from preflight.lab.stations.asks import ask, must
from preflight.lab.stations.fault import Fault, NotThereError
from preflight.lab.stations.words import at_control_host
from preflight.lab.truth import Deciding, Place, Truth

if TYPE_CHECKING:
    from preflight.lab.network import Network

_AT = Place("request", "tls")
CLIENT_CERTIFICATE = "control.client-certificate"
_NO_CERTIFICATE: Mapping[str, str] = {
    "nginx": "No required SSL certificate",
    "caddy": "BAD_CERTIFICATE",
    "haproxy": "CERTIFICATE_REQUIRED",
}
"""What clients without a certificate get: nginx' page of a 400, or an alert."""
_AHEAD_S = 600
_TWO_WEEKS_S = 14 * 24 * 3600
_VERIFY_ERRORS = {"expired": 10, "not-yet": 9, "untrusted": 20, "no-intermediate": 20, "self-signed": 18}
"""X509_V_ERR_CERT_HAS_EXPIRED, …_CERT_NOT_YET_VALID, …_UNABLE_TO_GET_ISSUER_CERT_LOCALLY and
…_DEPTH_ZERO_SELF_SIGNED_CERT of OpenSSL."""


def _certificate(kind: Certificate) -> Callable[[Setup], tuple[Part, ...]]:
    part = asks.shaped(f"the certificate is {kind}", lambda plan: replace(plan, certificate=kind), loopback=True)
    return lambda setup: (part,)


_fault = partial(Fault, place=_AT, excluded=asks.needs_tls)
_is = partial(at_control_host, _AT)


def _refusal(network: "Network") -> ssl.SSLError | None:
    """Why a client that trusts a's certificate authority refuses the server; None if it does not."""
    context = ssl.create_default_context(cafile=str(network.names.files("a") / "ca.pem"))
    try:
        asks.connection(network, context=context).close()
    except ssl.SSLError as error:
        return error
    return None


def _unverified(kind: Certificate) -> "Callable[[Network], None]":
    """OpenSSL refuses the certificate for exactly this reason."""

    def prove(network: "Network") -> None:
        error = _refusal(network)
        code = error.verify_code if isinstance(error, ssl.SSLCertVerificationError) else 0
        must(code == _VERIFY_ERRORS[kind], f"the certificate is refused with {error}")

    return prove


def _other_name(network: "Network") -> None:
    error = _refusal(network)
    must(error is not None and "mismatch" in str(error), f"the certificate is refused with {error}")


def _refuses_new_tls(network: "Network") -> None:
    error = _refusal(network)
    must(error is not None and "PROTOCOL_VERSION" in str(error), f"the handshake ends with {error}")


def _missing_link(network: "Network") -> None:
    """The root alone is not enough, and with the intermediate, which the server does not send, it is."""
    _unverified("no-intermediate")(network)
    context = ssl.create_default_context(cafile=str(network.names.files("a") / "ca.pem"))
    context.load_verify_locations(network.names.files(CONTROL) / "intermediate.pem")
    asks.connection(network, context=context).close()


def _ends_soon(network: "Network") -> None:
    """The certificate is good, and has less than two weeks left."""
    context = ssl.create_default_context(cafile=str(network.names.files("a") / "ca.pem"))
    with (
        asks.open_socket(network) as sock,
        context.wrap_socket(sock, server_hostname=asks.control_address(network)) as secure,
    ):
        ends = str((secure.getpeercert() or {}).get("notAfter"))
    left_s = ssl.cert_time_to_seconds(ends) - time.time()
    must(0 < left_s < _TWO_WEEKS_S, f"the certificate has {left_s:.0f} seconds left")


def _speaks_plain(network: "Network") -> None:
    """a's URL says https, and its server answers plain HTTP."""
    must(asks.url_of(network).startswith("https:"), "a's URL is not one of TLS")
    with asks.open_socket(network) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\nHost: control\r\n\r\n")
        must(sock.recv(5) == b"HTTP/", "the server does not speak plain HTTP")


def _speaks_tls(network: "Network") -> None:
    """a's URL says http, and its server speaks TLS."""
    must(asks.url_of(network).startswith("http:"), "a's URL is not one of plain HTTP")
    try:
        asks.connection(network, context=asks.trusting()).close()
    except ssl.SSLError as error:
        raise NotThereError(f"the server does not speak TLS: {error}") from None


def _demands_certificate(network: "Network") -> None:
    got = ask(network, "/health")
    must("CERTIFICATE_REQUIRED" in got.text.upper(), f"/health: {got.status} {got.text}")


def _gateway_asks_certificate(network: "Network") -> None:
    got = ask(network, "/health")
    must(_NO_CERTIFICATE[network.plan.gate] in got.text, f"/health: {got.status} {got.text}")


def _rejects_name(network: "Network") -> None:
    error = _refusal(network)
    alert = "INTERNAL_ERROR" if network.plan.gate == "caddy" else "UNRECOGNIZED_NAME"
    must(alert in str(error), f"the handshake ends with {error}")


def _rejected_is(setup: Setup) -> Truth:
    # Caddy's alert says no more than that something is wrong with the server.
    said = "internal error" if setup.gateway == "caddy" else "SNI"
    return _is("control.tls-failed", Deciding("problem", said))(setup)


def _no_default(setup: Setup) -> str | None:
    return "Caddy shows no certificate of another site" if setup.gateway == "caddy" else asks.needs_tls(setup)


def _lost_tls(plan: Blueprint) -> Blueprint:
    """The server has no certificate any more, and its nodes do not know."""
    return asks.with_urls(replace(plan, certificate=None), lambda url: url.replace("http://", "https://"))


def _gained_tls(plan: Blueprint) -> Blueprint:
    """The server has a certificate now, and a does not know."""
    return asks.with_urls(replace(plan, certificate="good"), lambda url: url.replace("https://", "http://"))


def _lost_tls_is(setup: Setup) -> Truth:
    # On the overlay plain HTTP is as good as TLS: the node may go back to http.
    return Truth("control.tls-failed", "control", place=_AT, deciding=Deciding("problem", "plain HTTP"), heals="file")


def _gained_tls_is(setup: Setup) -> Truth:
    return Truth(
        "control.tls-failed",
        "control",
        place=_AT,
        deciding=Deciding("problem", "speaks TLS"),
        heals="file",
        vague=("control.bad-answer", "control.not-populi"),
    )


def _started(setup: Setup) -> tuple[Part, ...]:
    """a's clock cannot be set apart from its host's: so the others' are ahead, the authority's and the server's."""
    return (*_certificate("in-minutes")(setup), asks.drilled(f"clock-skew={_AHEAD_S}"))


def _started_there(network: "Network") -> None:
    """a refuses the certificate for its date, and at the server's time it is valid."""
    _unverified("not-yet")(network)
    got = ask(network, "/health")
    ahead_s = parsedate_to_datetime(got.headers.get("date", "")).timestamp() - time.time()
    must(ahead_s > _AHEAD_S / 2, f"the server's clock is {ahead_s:.0f} seconds ahead")


def no_old_tls(setup: Setup) -> str | None:
    """For a gateway that speaks TLS before 1.2."""
    return "Caddy does not speak TLS before 1.2" if setup.gateway == "caddy" else asks.needs_tls(setup)


def _with_address(setup: Setup) -> str | None:
    return "the URL has no address" if setup.control != "address" else asks.needs_tls(setup)


FAULTS = (
    _fault(
        name="tls-plain-server",
        summary="a's URL says https, and the server speaks plain HTTP",
        made=lambda setup: (asks.shaped("the server lost its TLS", _lost_tls),),
        expected=_lost_tls_is,
        proof=_speaks_plain,
        excluded=asks.needs_direct,
    ),
    _fault(
        name="tls-plain-client",
        summary="a's URL says http, and the server speaks TLS",
        made=lambda setup: (asks.shaped("the server speaks TLS now", _gained_tls),),
        expected=_gained_tls_is,
        proof=_speaks_tls,
        excluded=asks.needs_direct,
    ),
    _fault(
        name="tls-expired",
        summary="the certificate expired yesterday",
        made=_certificate("expired"),
        expected=_is("control.tls-expired"),
        proof=_unverified("expired"),
    ),
    _fault(
        name="tls-expiring",
        summary="the certificate expires in five days",
        made=_certificate("expiring"),
        expected=lambda setup: Truth("control.tls-expiring", "control", where="control host", warns=True),
        proof=_ends_soon,
    ),
    _fault(
        name="tls-not-yet-valid",
        summary="the certificate is valid from tomorrow",
        made=_certificate("not-yet"),
        expected=_is("control.tls-not-yet-valid"),
        proof=_unverified("not-yet"),
    ),
    _fault(
        name="tls-own-clock",
        summary="a's clock is behind by more than the age of the certificate",
        made=_started,
        expected=lambda setup: Truth(
            "control.clock-skew", "control", place=_AT, deciding=Deciding("problem", "this node's clock")
        ),
        proof=_started_there,
        alone=True,
    ),
    _fault(
        name="tls-old-only",
        summary="the gateway accepts TLS 1.0 and 1.1, and nothing newer",
        made=asks.fronted("a gateway with old TLS alone", old_tls=True, no_new_tls=True),
        expected=_is("control.tls-failed", Deciding("problem", "TLS version")),
        proof=_refuses_new_tls,
        excluded=no_old_tls,
    ),
    _fault(
        name="tls-address-as-name",
        summary="the certificate has the control plane's address among its DNS names",
        made=_certificate("address-as-name"),
        expected=_is("control.tls-name", Deciding("problem", "DNS names")),
        proof=_other_name,
        excluded=_with_address,
    ),
    _fault(
        name="tls-untrusted",
        summary="another authority signed the certificate than the one that a trusts",
        made=_certificate("untrusted"),
        expected=_is("control.tls-untrusted", Deciding("certificate", "Preflight lab CA")),
        proof=_unverified("untrusted"),
    ),
    _fault(
        name="tls-self-signed",
        summary="the server signed its certificate itself",
        made=_certificate("self-signed"),
        expected=_is("control.tls-untrusted", Deciding("certificate", SERVER_NAME)),
        proof=_unverified("self-signed"),
    ),
    _fault(
        name="tls-no-names",
        summary="the certificate has a common name only, which no client of today reads",
        made=_certificate("no-names"),
        expected=_is("control.tls-name", Deciding("problem", "subjectAltName")),
        proof=_other_name,
    ),
    _fault(
        name="tls-intermediate-missing",
        summary="the server does not send the intermediate certificate, and a trusts the root",
        made=_certificate("no-intermediate"),
        expected=_is("control.tls-untrusted", Deciding("certificate", INTERMEDIATE)),
        proof=_missing_link,
    ),
    _fault(
        name="tls-name",
        summary="the certificate is for another name",
        made=_certificate("other-name"),
        expected=_is("control.tls-name", Deciding("certificate", OTHER_NAME)),
        proof=_other_name,
    ),
    _fault(
        name="tls-default-site",
        summary="the gateway knows the control plane by another name, and shows the certificate of its default site",
        made=asks.fronted("a gateway with two sites", sites="two"),
        expected=_is("control.tls-name", Deciding("certificate", OTHER_NAME)),
        proof=_other_name,
        excluded=_no_default,
    ),
    _fault(
        name="tls-name-rejected",
        summary="the gateway ends the handshake, for it serves no site of this name",
        made=asks.fronted("a gateway that rejects unknown names", sites="one"),
        expected=_rejected_is,
        proof=_rejects_name,
    ),
    _fault(
        name="tls-client-certificate",
        summary="the server demands a certificate of the client, in the handshake of TLS 1.3",
        made=asks.fronted("a server that demands certificates", relay="asks-certificate"),
        expected=_is(CLIENT_CERTIFICATE, Deciding("problem", "client certificate"), "control.tls-failed"),
        proof=_demands_certificate,
    ),
    _fault(
        name="tls-client-certificate-gateway",
        summary="the gateway refuses clients without a certificate: nginx answers 400, the others end the handshake",
        made=asks.fronted("a gateway that demands certificates", certificates=True),
        expected=_is(
            CLIENT_CERTIFICATE, Deciding("problem", "client certificate"), "control.tls-failed", "control.not-populi"
        ),
        proof=_gateway_asks_certificate,
    ),
)
