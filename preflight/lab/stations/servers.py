"""Faults of what answers in the place of the control plane, or in front of it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from preflight.lab.axes.setup import Setup
from preflight.lab.blueprint import Blueprint, Places, Server
from preflight.lab.front import SECURE_PORT, Act, Front, Route
from preflight.lab.part import Part, planned
from preflight.lab.processes import start, wait_for_words
from preflight.lab.site import CONTROL, DATABASE
from preflight.lab.stations import asks
from preflight.lab.stations.asks import JOIN, LIST, ask, must
from preflight.lab.stations.fault import Fault
from preflight.lab.stations.proofs import each_of
from preflight.lab.stations.words import at_control_host
from preflight.lab.truth import Deciding, Place, Truth
from preflight.model.host_port import bracketed
from preflight.programs import python_module

if TYPE_CHECKING:
    from preflight.lab.network import Network

_AT = Place("request", "server")
_LOGIN = "https://login.example/"
_PAGE = "<!doctype html><title>Sign in</title><form>Sign in</form>"
_TURNS = 6
_PREFIX = "/mesh"
_LEASE, _LEAVE = "/v1/populi/exec/lease/", "/v1/populi/leave"
_NAMED: Mapping[str, str] = {"nginx": "nginx", "caddy": "Caddy"}
"""What a gateway calls itself in each answer that it gives itself; HAProxy has its words in pages of errors only."""
_DEAD_BACKEND: Mapping[str, int] = {"nginx": 502, "caddy": 502, "haproxy": 503}


_fault = partial(Fault, place=_AT, excluded=asks.needs_direct)
_is = partial(at_control_host, _AT)


def _status(code: str, status: int, *vague: str) -> Callable[[Setup], Truth]:
    return _is(code, Deciding("http_status", status), *vague)


def _api(summary: str, act: Act) -> Callable[[Setup], tuple[Part, ...]]:
    """A gateway that treats every API route so."""
    return asks.fronted(summary, routes=(Route("/v1/", act),))


_HEALTHY = asks.answers("/health", 200, populi=True)
"""The health route is passed on: a client that looks at it alone sees nothing wrong."""


def _gateway_answers(status: int) -> "Callable[[Network], None]":
    """The gateway itself answers the API, and /health comes from the control plane."""
    return each_of(
        asks.answers(LIST, status, populi=False), asks.answers(JOIN, status, populi=False, body={}), _HEALTHY
    )


def _backend_is_dead(network: "Network") -> None:
    _gateway_answers(_DEAD_BACKEND[network.plan.gate])(network)


def _answers_by_turns(network: "Network") -> None:
    seen = {ask(network, "/health").status for _ in range(_TURNS)}
    must(seen == {200, _DEAD_BACKEND[network.plan.gate]}, f"/health is answered {seen}")


def _login_page_is(setup: Setup) -> Truth:
    named = setup.gateway in _NAMED
    deciding = Deciding("server", _NAMED[setup.gateway]) if named else Deciding("http_status", 200)
    return _is("control.not-populi", deciding, "control.bad-answer")(setup)


def _no_upgrade(setup: Setup) -> str | None:
    if setup.gateway == "caddy" and setup.families == "ipv6" and setup.control not in ("hosts", "dns", "search"):
        return "Caddy leaves out the brackets of the address in its redirect"
    return asks.needs_plain(setup)


def _leads_to(target: str) -> "Callable[[Network], None]":
    def prove(network: "Network") -> None:
        location = ask(network, LIST).headers.get("location", "")
        must(location.startswith(target), f"{LIST} leads to {location or 'nowhere'}")

    return prove


def _another(kind: Server) -> Callable[[Setup], tuple[Part, ...]]:
    return lambda setup: (planned(f"another server is there: {kind}", loopback=True, server=kind),)


def _upgraded(plan: Blueprint) -> Blueprint:
    """Plain HTTP only redirects to TLS on its own port, where the control plane is."""
    return replace(plan, certificate="good", front=Front(upgrades=True, plain=True))


def _secure_place(network: "Network") -> str:
    """The redirect keeps the host of a's URL, an address or a name."""
    return f"https://{asks.url_of(network).removeprefix('http://').rpartition(':')[0]}"


def _upgraded_is(setup: Setup) -> Truth:
    where = Deciding("location", _secure_place)
    return Truth("control.redirected", "control", place=_AT, deciding=where, heals="file")


def _upgrades(network: "Network") -> None:
    """The redirect leads to the same host, and what is there is the control plane."""
    _leads_to(f"https://{bracketed(Places.in_tunnel(network.plan).control)}/")(network)
    with asks.open_socket(network, port=SECURE_PORT) as sock, asks.trusting().wrap_socket(sock) as secure:
        secure.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        must(b"x-populi-feature" in _all(secure).lower(), "no control plane is at the redirect's target")


def _all(sock: Any) -> bytes:
    return b"".join(iter(lambda: sock.recv(4096), b""))


def _prefixed(plan: Blueprint) -> Blueprint:
    return replace(asks.with_urls(plan, lambda url: url + _PREFIX), front=Front())


def _prefixed_is(setup: Setup) -> Truth:
    # Without the prefix the same gateway leads to the control plane: the URL in a's file can be corrected.
    return Truth(
        "control.bad-answer", "control", place=_AT, deciding=Deciding("problem", f"prefix {_PREFIX}"), heals="file"
    )


def _prefix_stays(network: "Network") -> None:
    """The control plane itself refuses the path of a's URL, and accepts the same one without the prefix."""
    must(asks.url_of(network).endswith(_PREFIX), "a's URL has no prefix")
    asks.answers(_PREFIX + LIST, 404, populi=True)(network)
    asks.answers(LIST, 200, populi=True)(network)


def _slashed(plan: Blueprint) -> Blueprint:
    return replace(asks.with_urls(plan, lambda url: url + _PREFIX), front=Front(prefix=_PREFIX, keeps_slash=True))


def _slashed_is(setup: Setup) -> Truth:
    return Truth(
        "control.bad-answer",
        "control",
        place=_AT,
        deciding=Deciding("problem", f"prefix {_PREFIX}"),
        where="control host",
    )


def _slash_stays(network: "Network") -> None:
    """The control plane refuses the path behind the prefix, and takes it where no slash is between the two."""
    must(asks.url_of(network).endswith(_PREFIX), "a's URL has no prefix")
    asks.answers(LIST, 404, populi=True)(network)
    asks.answers(LIST.removeprefix("/"), 200, populi=True)(network)


def _no_slash(setup: Setup) -> str | None:
    return "Caddy takes the slash with the prefix" if setup.gateway == "caddy" else asks.needs_direct(setup)


def _unhealthy(setup: Setup) -> tuple[Part, ...]:
    return (asks.drilled("unhealthy"),)


def _locked(setup: Setup) -> tuple[Part, ...]:
    def inject(network: "Network") -> None:
        """From a process that ends with the lab."""
        database = network.names.files(CONTROL) / DATABASE
        words = network.command("a", *python_module("preflight.lab.lock_holder", str(database)))
        log = network.names.directory / "lock-holder.log"
        holder = start("lock holder", words, mark=network.names.mark("lock-holder"), log=log)
        wait_for_words(holder, "holding ", 1, time.monotonic() + asks.WAIT_S)

    return (Part("another program holds the control plane's database", inject=inject),)


def _locked_is(setup: Setup) -> Truth:
    # Who holds the lock is a program at the control host; ending it is a decision.
    return _status("control.unhealthy", 503)(setup)


def _says_so(network: "Network") -> None:
    got = ask(network, JOIN, asks.record("proof"), token=asks.mesh_token(network))
    must(got.status == 503 and got.populi, f"a join: {got.status} {got.text}")


FAULTS = (
    _fault(
        name="server-login-redirect",
        summary="a gateway redirects every API route to its login page; /health is passed on",
        made=_api("a login page before the API", Act(302, to=_LOGIN)),
        expected=_is("control.redirected", Deciding("location", _LOGIN), "control.not-populi"),
        proof=each_of(_gateway_answers(302), _leads_to(_LOGIN)),
    ),
    _fault(
        name="server-moved",
        summary="a gateway answers 307 to every API route; /health is passed on",
        made=_api("the API has moved", Act(307, to="https://mesh.example<path>")),
        expected=_is("control.redirected", Deciding("location", "https://mesh.example"), "control.not-populi"),
        proof=each_of(_gateway_answers(307), _leads_to("https://mesh.example/")),
    ),
    _fault(
        name="server-login-page",
        summary="a gateway answers every API route with its login page and 200; /health is passed on",
        made=_api("a login page in the place of the API", Act(200, _PAGE)),
        expected=_login_page_is,
        proof=_gateway_answers(200),
    ),
    *(
        _fault(
            name=f"server-gateway-{status}",
            summary=f"a gateway answers {status} to every API route; /health is passed on",
            made=_api(f"a gateway that answers {status}", Act(status)),
            expected=_status("control.not-populi", status),
            proof=_gateway_answers(status),
        )
        for status in (403, 404)
    ),
    _fault(
        name="server-challenge",
        summary="a gateway asks for a user and a password on every API route; /health is passed on",
        made=_api("a gateway with a password", Act(password=True)),
        expected=_status("control.not-populi", 401),
        proof=_gateway_answers(401),
    ),
    _fault(
        name="server-backend-dead",
        summary="a gateway answers 502 or 503 to every API route, for its backend is dead; /health is passed on",
        made=_api("a gateway with a dead backend", Act(dead=True)),
        expected=lambda setup: _status("control.unhealthy", _DEAD_BACKEND[setup.gateway])(setup),
        proof=_backend_is_dead,
    ),
    *(
        _fault(
            name=f"server-list-{status}",
            summary=f"the list of nodes is answered with {status}; all else works",
            made=asks.fronted(f"the list gives {status}", routes=(Route(LIST, Act(status), exact=True),)),
            expected=_status("control.unhealthy", status, "control.bad-answer"),
            proof=each_of(asks.answers(LIST, status, populi=False), _HEALTHY),
        )
        for status in (500, 503)
    ),
    _fault(
        name="server-half-dead",
        summary="a gateway hands every second request to a backend that is dead",
        made=asks.fronted("a gateway with a living and a dead backend", half_dead=True),
        expected=lambda setup: _status("control.unhealthy", _DEAD_BACKEND[setup.gateway])(setup),
        proof=_answers_by_turns,
    ),
    _fault(
        name="server-gateway-504",
        summary="a gateway answers 504 to every API route, for its backend is too slow; /health is passed on",
        made=_api("a gateway with a slow backend", Act(504)),
        expected=_status("control.unhealthy", 504),
        proof=_gateway_answers(504),
    ),
    _fault(
        name="server-join-403",
        summary="a gateway answers 403 to joins, as one does that lets readers in only; all else is passed on",
        made=asks.fronted("a gateway for readers", routes=(Route(JOIN, Act(403), exact=True),)),
        expected=_status("control.not-populi", 403, "enroll.join-failed"),
        proof=each_of(asks.answers(JOIN, 403, populi=False, body={}), asks.answers(LIST, 200, populi=True)),
    ),
    _fault(
        name="server-lease-404",
        summary="a gateway that knows some routes only answers 404 to leases; all else is passed on",
        made=lambda setup: (
            *asks.fronted("a gateway of some routes", routes=(Route(_LEASE, Act(404)),))(setup),
            # A node with a name of its own asks for a lease; one with a made-up name does not.
            asks.shaped("a is called a", lambda plan: replace(plan, node={**plan.node, "node": {"id": "a"}})),
        ),
        expected=_status("control.not-populi", 404, "enroll.lease-failed"),
        proof=each_of(asks.answers(f"{_LEASE}grant", 404, populi=False, body={}), _HEALTHY),
    ),
    _fault(
        name="server-leave-405",
        summary="a gateway answers 405 to those who leave; all else is passed on",
        made=asks.fronted("a gateway that nobody leaves", routes=(Route(_LEAVE, Act(405), exact=True),)),
        expected=_status("enroll.leave-failed", 405),
        proof=each_of(asks.answers(_LEAVE, 405, populi=False, body={}), _HEALTHY),
    ),
    _fault(
        name="server-no-site",
        summary="the gateway knows the control plane by another name, and answers with its default site",
        made=asks.fronted("a gateway with two sites", sites="two"),
        expected=_login_page_is,
        proof=each_of(asks.answers("/health", 200, populi=False), asks.answers(LIST, 200, populi=False)),
        excluded=asks.needs_plain,
    ),
    _fault(
        name="server-another-site",
        summary="another web server is at the address, and answers 200 to everything",
        made=_another("everything"),
        expected=_is("control.not-populi"),
        proof=each_of(asks.answers("/health", 200, populi=False), asks.answers(LIST, 200, populi=False)),
        excluded=asks.needs_plain,
    ),
    _fault(
        name="server-redirect",
        summary="another web server is at the address, and redirects everything to a login page",
        made=_another("redirect"),
        expected=_is("control.redirected", Deciding("location", "http://login.example/")),
        proof=_leads_to("http://login.example/"),
        excluded=asks.needs_plain,
    ),
    _fault(
        name="server-to-https",
        summary="the plain port redirects to TLS on the same host, where the control plane is",
        made=lambda setup: (asks.shaped("plain HTTP leads to TLS", _upgraded),),
        expected=_upgraded_is,
        proof=_upgrades,
        excluded=_no_upgrade,
    ),
    _fault(
        name="server-prefix-kept",
        summary="a's URL has a prefix, and the gateway does not strip it",
        made=lambda setup: (asks.shaped("a prefix that nobody strips", _prefixed),),
        expected=_prefixed_is,
        proof=_prefix_stays,
    ),
    _fault(
        name="server-prefix-slash",
        summary="the gateway strips the prefix of a's URL, and not the slash behind it",
        made=lambda setup: (asks.shaped("a prefix that is stripped without its slash", _slashed),),
        expected=_slashed_is,
        proof=_slash_stays,
        excluded=_no_slash,
    ),
    _fault(
        name="server-unhealthy",
        summary="the control plane answers 500 to /health",
        made=_unhealthy,
        expected=_status("control.unhealthy", 500),
        proof=asks.answers("/health", 500, populi=True),
        excluded=asks.needs_control,
    ),
    _fault(
        name="server-database-locked",
        summary="another program holds the control plane's database: each write is answered with 503",
        made=_locked,
        expected=_locked_is,
        proof=_says_so,
        excluded=asks.needs_control,
    ),
)
