"""Faults of the control host's name: resolvers, the search list, and a's own files."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from preflight.lab.axes.control import HOSTS
from preflight.lab.axes.setup import Setup
from preflight.lab.blueprint import Blueprint, ResolverPlan
from preflight.lab.names import ROUTER
from preflight.lab.part import Part
from preflight.lab.services import FIRST_RESOLVER, SECOND_RESOLVER
from preflight.lab.stations import asks
from preflight.lab.stations.fault import Fault, NotThereError
from preflight.lab.stations.proofs import Proof, each_of
from preflight.lab.topology import CONTROL_DOMAIN, CONTROL_NAME, CONTROL_SHORT, gateway_address
from preflight.lab.truth import Deciding, Healer, Place, Truth

if TYPE_CHECKING:
    from preflight.lab.network import Network

_NAME = Place("request", "name")
_STRANGER = gateway_address("a", 4)
"""A host outside the overlay, without a control plane."""
_STUB = "127.0.0.53"
"""Where systemd's resolver listens, if it runs."""
_OWN = "127.0.1.1"
"""The address that installers of Debian give a machine's own name."""
_WILD_DOMAIN = "corp.test"
_KNOWN: Mapping[str, tuple[str, ...]] = {CONTROL_NAME: ("{control}",)}
_EVERYTHING_INSIDE = ("default", "halves")


def _asked(setup: Setup) -> str:
    """The name in the control URL."""
    return CONTROL_SHORT if setup.control == "search" else CONTROL_NAME


def _unresolved(setup: Setup) -> str | None:
    return None if setup.control in ("dns", "search") else "a asks no resolver for the control host"


def _unnamed(setup: Setup) -> str | None:
    return None if setup.control in ("hosts", "dns", "search") else "the control host has no name"


def _inside(setup: Setup) -> str | None:
    """For faults by which the name leads outside the overlay."""
    return "all that a sends goes into the tunnel" if setup.routes in _EVERYTHING_INSIDE else None


def _not_stripped(setup: Setup) -> str | None:
    shared = setup.addresses == "shared" and setup.families != "ipv6" and setup.home != "behind"
    return "resolvers count carriers' addresses (RFC 6598) as public" if shared else None


def _both(*reasons: Callable[[Setup], str | None]) -> Callable[[Setup], str | None]:
    return lambda setup: next(filter(None, (reason(setup) for reason in reasons)), None)


def _resolved_by(summary: str, *resolvers: ResolverPlan) -> Part:
    """a has these resolvers, and each that is silent gets no question."""
    silent = [each.address for each in resolvers if each.silent]
    deaf = [each.address for each in resolvers if each.truncated]

    def inject(network: "Network") -> None:
        rules = [f"input ip daddr {address} meta l4proto {{ tcp, udp }} th dport 53 drop" for address in silent]
        rules += [f"input ip daddr {address} tcp dport 53 drop" for address in deaf]
        network.nft(ROUTER, *rules)

    return Part(summary, shape=lambda plan: replace(plan, resolvers=resolvers), inject=inject)


def _is(
    code: str,
    deciding: Deciding,
    *vague: str,
    heals: Healer = "nothing",
    warns: bool = False,
) -> Callable[[Setup], Truth]:
    truth = Truth(code, "control", place=_NAME, deciding=deciding, heals=heals, vague=vague, warns=warns)
    return lambda setup: truth


def _other(setup: Setup) -> str:
    """The type of address that the control host does not have."""
    return "A" if setup.families == "ipv6" else "AAAA"


def _answers_by_half(network: "Network") -> None:
    """The resolver gives the address of the control host, and says nothing about the other kind."""
    asks.resolver_says(FIRST_RESOLVER, CONTROL_NAME, asks.places_of(network).control)(network)
    said = asks.answered(network, FIRST_RESOLVER, CONTROL_NAME, other=True)
    asks.must(said == "silent", f"{FIRST_RESOLVER} says {said!r} about the other kind of address")


def _nobody_knows(network: "Network") -> None:
    """The name that the search list makes of it does not exist, whatever a's programs ask."""
    asks.resolver_says(FIRST_RESOLVER, CONTROL_NAME, "NXDOMAIN")(network)


def _slow(network: "Network") -> None:
    asks.resolver_says(FIRST_RESOLVER, CONTROL_NAME, "silent")(network)
    asks.resolver_says(SECOND_RESOLVER, CONTROL_NAME, asks.places_of(network).control)(network)


def _stripped(network: "Network") -> None:
    silently = network.plan.forwarder == "unbound"
    asks.resolver_says(FIRST_RESOLVER, CONTROL_NAME, "empty" if silently else "blocked")(network)


def _stripped_is(setup: Setup) -> Truth:
    # dnsmasq says so in its answer: the extended error "Blocked" (RFC 8914). unbound says nothing of it.
    if setup.resolver == "unbound":
        return _is("control.dns-nxdomain", Deciding("problem", "no address"))(setup)
    return _is("control.dns-stripped", Deciding("problem", "rebind"), "control.dns-nxdomain")(setup)


def _cut(network: "Network") -> None:
    asks.resolver_says(FIRST_RESOLVER, CONTROL_NAME, "too long")(network)
    seen = asks.answered(network, FIRST_RESOLVER, CONTROL_NAME, tcp=True)
    if seen != "silent":
        raise NotThereError(f"{FIRST_RESOLVER} says {seen!r} over TCP")


# What a's own files say


def _searched(setup: Setup) -> str:
    """The name that the search list makes of the control host's, and that a wildcard answers."""
    return f"{_asked(setup)}.{_WILD_DOMAIN}"


def _wildcard(setup: Setup) -> tuple[Part, ...]:
    wild = ResolverPlan(FIRST_RESOLVER, {**_KNOWN, f"*.{_WILD_DOMAIN}": (_STRANGER,)})
    first = Part(
        "a's search list has another domain first",
        # Kubernetes sets as many dots, so that names with dots are searched too.
        shape=lambda plan: replace(plan, search=(_WILD_DOMAIN, CONTROL_DOMAIN), ndots=5),
    )
    return (_resolved_by("a domain of a's search list has a wildcard", wild), first)


def _wildcard_is(setup: Setup) -> Truth:
    return Truth(
        "control.dns-search",
        "control",
        place=_NAME,
        deciding=Deciding("asked_name", _searched(setup)),
        heals="file",
        vague=("control.url-off-overlay", "control.plain-http", "control.dns-split", "control.refused"),
    )


def _wildcard_wins(network: "Network") -> None:
    name = CONTROL_SHORT if f"//{CONTROL_SHORT}:" in (network.plan.control_url or "") else CONTROL_NAME
    asks.leads_to(name, _STRANGER)(network)
    asks.resolver_says(FIRST_RESOLVER, CONTROL_NAME, asks.places_of(network).control)(network)


def _in_etc(summary: str, **files: str) -> Part:
    named = {name.replace("_", "."): text for name, text in files.items()}
    return Part(summary, shape=lambda plan: replace(plan, etc={**plan.etc, **named}))


def _stale_hosts(setup: Setup) -> tuple[Part, ...]:
    return (_in_etc("a's hosts file has an earlier address", hosts=HOSTS.replace("{control}", _STRANGER)),)


def _stale_hosts_is(setup: Setup) -> Truth:
    known = setup.control != "hosts"  # a resolver knows the right address
    return Truth(
        "control.dns-split" if known else "control.url-off-overlay",
        "control",
        place=_NAME,
        deciding=Deciding("file", "/etc/hosts"),
        heals="file" if known else "nothing",
        vague=("control.url-off-overlay", "control.plain-http", "control.refused"),
    )


def _hosts_are_stale(network: "Network") -> None:
    asks.leads_to(CONTROL_NAME, _STRANGER)(network)
    asks.leads_to(CONTROL_SHORT, _STRANGER)(network)


def _copied_hosts(setup: Setup) -> tuple[Part, ...]:
    return (_in_etc("a's hosts file is the control host's", hosts=HOSTS.replace("{control}", _OWN)),)


def _copied_hosts_is(setup: Setup) -> Truth:
    """A resolver knows the right address, or a member of the overlay answers at it: then the file can be put right."""
    known = setup.control != "hosts"
    return Truth(
        "control.dns-split" if known else "control.url-off-overlay",
        "control",
        place=_NAME,
        deciding=Deciding("file", "/etc/hosts"),
        heals="file" if known else "nothing",
        vague=("control.url-off-overlay", "control.plain-http", "control.refused"),
    )


def _no_resolver(setup: Setup) -> tuple[Part, ...]:
    def shape(plan: Blueprint) -> Blueprint:
        own = {"resolv.conf": "# written by a program that has ended\n", "hosts": HOSTS.partition("{")[0]}
        own["nsswitch.conf"] = "passwd: files\ngroup: files\nhosts: files dns\n"
        return replace(plan, resolvers=(), etc={**plan.etc, **own})

    return (Part("a's resolv.conf names no resolver", shape=shape),)


def _no_dns(setup: Setup) -> tuple[Part, ...]:
    return (_in_etc("a's name-service switch has no DNS", nsswitch_conf="passwd: files\nhosts: files\n"),)


def _files_only(network: "Network") -> None:
    asks.resolver_says(FIRST_RESOLVER, CONTROL_NAME, asks.places_of(network).control)(network)
    asks.leads_to(CONTROL_NAME, "")(network)


def _resolver(
    name: str,
    summary: str,
    expected: Callable[[Setup], Truth],
    proof: Proof,
    *resolvers: ResolverPlan,
    excluded: Callable[[Setup], str | None] = _unresolved,
) -> Fault:
    """A fault of the resolvers that a asks."""
    return Fault(
        name=name,
        summary=summary,
        place=_NAME,
        made=lambda setup: (_resolved_by(summary, *resolvers),),
        expected=expected,
        proof=proof,
        excluded=excluded,
    )


def _split(network: "Network") -> None:
    asks.resolver_says(FIRST_RESOLVER, CONTROL_NAME, _STRANGER)(network)
    asks.resolver_says(SECOND_RESOLVER, CONTROL_NAME, asks.places_of(network).control)(network)


def _split_behind(network: "Network") -> None:
    asks.resolver_says(FIRST_RESOLVER, CONTROL_NAME, asks.places_of(network).control)(network)
    asks.resolver_says(SECOND_RESOLVER, CONTROL_NAME, _STRANGER)(network)


_FIRST = Deciding("resolver", FIRST_RESOLVER)
_SECOND = Deciding("resolver", SECOND_RESOLVER)

FAULTS = (
    _resolver(
        "name-nxdomain",
        "a's resolver does not know the control host",
        _is("control.dns-nxdomain", _FIRST),
        _nobody_knows,
        ResolverPlan(FIRST_RESOLVER),
    ),
    _resolver(
        "name-silent",
        "a's resolver does not answer",
        _is("control.dns-timeout", _FIRST),
        asks.resolver_says(FIRST_RESOLVER, CONTROL_NAME, "silent"),
        ResolverPlan(FIRST_RESOLVER, silent=True),
    ),
    _resolver(
        "name-refused",
        "nobody listens where a's resolver should be, on a itself",
        # The line starts a service of the machine, as which a lab's node has none: nothing here can show that it heals.
        _is("control.dns-refused", Deciding("problem", "refused"), "control.dns-timeout"),
        each_of(asks.resolver_says(_STUB, CONTROL_NAME, "refused"), asks.leads_to(CONTROL_NAME, "")),
        ResolverPlan(_STUB, absent=True),
    ),
    _resolver(
        "name-truncated",
        "the answer of a's resolver does not fit into UDP, and its TCP port is blocked",
        _is("control.dns-truncated", Deciding("problem", "truncated"), "control.dns-timeout"),
        _cut,
        ResolverPlan(FIRST_RESOLVER, _KNOWN, truncated=True),
    ),
    _resolver(
        "name-stripped",
        "a's resolver takes private addresses out of answers",
        _stripped_is,
        _stripped,
        ResolverPlan(FIRST_RESOLVER, _KNOWN, stripping=True),
        excluded=_both(_unresolved, _not_stripped),
    ),
    _resolver(
        "name-servfail",
        "a's resolver answers every question with SERVFAIL, as where its own resolvers are dead",
        _is("control.dns-timeout", Deciding("resolver", FIRST_RESOLVER)),
        asks.resolver_says(FIRST_RESOLVER, CONTROL_NAME, "SERVFAIL"),
        ResolverPlan(FIRST_RESOLVER, _KNOWN, rcode="SERVFAIL"),
    ),
    Fault(
        name="name-half-silent",
        summary="a's resolver answers about one kind of address, and drops questions for the other",
        place=_NAME,
        made=lambda setup: (
            _resolved_by(
                "questions for one kind are dropped", ResolverPlan(FIRST_RESOLVER, _KNOWN, drops=_other(setup))
            ),
        ),
        expected=lambda setup: _is(
            "control.dns-timeout", Deciding("problem", _other(setup)), "control.dns-split", heals="file"
        )(setup),
        proof=_answers_by_half,
        excluded=_unresolved,
    ),
    _resolver(
        "name-not-for-a",
        "a's resolver answers a with REFUSED, for it does not serve a's network",
        _is("control.dns-refused", Deciding("problem", "refused"), "control.dns-timeout"),
        asks.resolver_says(FIRST_RESOLVER, CONTROL_NAME, "REFUSED"),
        ResolverPlan(FIRST_RESOLVER, _KNOWN, rcode="REFUSED"),
    ),
    Fault(
        name="name-no-resolver",
        summary="a's resolv.conf names no resolver",
        place=_NAME,
        made=_no_resolver,
        expected=_is("control.dns-refused", Deciding("file", "/etc/resolv.conf"), "control.dns-timeout"),
        proof=asks.leads_to(CONTROL_NAME, ""),
        excluded=_unresolved,
    ),
    Fault(
        name="name-hosts-own",
        summary="a's hosts file was copied from the control host, where its name is 127.0.1.1",
        place=_NAME,
        made=_copied_hosts,
        expected=_copied_hosts_is,
        proof=asks.leads_to(CONTROL_NAME, _OWN),
        excluded=_unnamed,
    ),
    _resolver(
        "name-no-data",
        "a's resolver knows the control host's name, and no address of it",
        _is("control.dns-nxdomain", Deciding("problem", "no address")),
        asks.resolver_says(FIRST_RESOLVER, CONTROL_NAME, "empty"),
        ResolverPlan(FIRST_RESOLVER, {CONTROL_NAME: ()}),
    ),
    _resolver(
        "name-first-dead",
        "a's first resolver is dead, and the second one answers",
        _is("control.slow", _FIRST, "control.dns-timeout", heals="file", warns=True),
        _slow,
        ResolverPlan(FIRST_RESOLVER, silent=True),
        ResolverPlan(SECOND_RESOLVER, _KNOWN),
    ),
    _resolver(
        "name-split",
        "a's first resolver has another address than the second one, outside the overlay",
        _is("control.dns-split", _FIRST, "control.url-off-overlay", "control.plain-http", heals="file"),
        _split,
        ResolverPlan(FIRST_RESOLVER, {CONTROL_NAME: (_STRANGER,)}),
        ResolverPlan(SECOND_RESOLVER, _KNOWN),
        excluded=_both(_unresolved, _inside),
    ),
    _resolver(
        "name-split-behind",
        "a's second resolver, which nobody asks as long as the first one answers, has an address outside the overlay",
        _is("control.dns-split", _SECOND, heals="file", warns=True),
        _split_behind,
        ResolverPlan(FIRST_RESOLVER, _KNOWN),
        ResolverPlan(SECOND_RESOLVER, {CONTROL_NAME: (_STRANGER,)}),
    ),
    Fault(
        name="name-search-wildcard",
        summary="a's search list has a domain with a wildcard before the right one",
        place=_NAME,
        made=_wildcard,
        expected=_wildcard_is,
        proof=_wildcard_wins,
        excluded=_both(_unresolved, _inside),
    ),
    Fault(
        name="name-hosts-stale",
        summary="a's hosts file has an earlier address of the control host, outside the overlay",
        place=_NAME,
        made=_stale_hosts,
        expected=_stale_hosts_is,
        proof=_hosts_are_stale,
        excluded=_both(_unnamed, _inside),
    ),
    Fault(
        name="name-nsswitch",
        summary="a's name-service switch asks no resolver",
        place=_NAME,
        made=_no_dns,
        expected=_is("control.dns-nxdomain", Deciding("file", "/etc/nsswitch.conf"), "control.dns-split", heals="file"),
        proof=_files_only,
        excluded=_unresolved,
    ),
)
