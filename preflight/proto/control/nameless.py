"""Why programs on this node get no address for the control host's name; pure."""

from dataclasses import replace

from preflight import codes
from preflight.codes import Code
from preflight.model.dns import Lookup, LookupOutcome, Resolution
from preflight.model.facts import DeathFacts
from preflight.model.name_fixes import HOSTS_FILE, RESOLVERS_FILE, SWITCH_FILE
from preflight.model.overlay import OverlayState
from preflight.model.printable import excerpt
from preflight.model.remedy import Remedies, by_hand, look
from preflight.proto.control.answers import Finding
from preflight.proto.control.naming import asking_resolvers, listed, named_here
from preflight.proto.control.placement import placement
from preflight.proto.control.url import SERVER_PORT, ControlUrl


def nameless(resolution: Resolution, url: ControlUrl, overlay: OverlayState | None) -> Finding:
    """Why there is no address. A resolver that knows the name says more than one that does not answer."""
    found = _nameless(resolution, url, overlay)
    if (noted := _noted(found, resolution)) is not None:
        return noted
    if "." in resolution.name or resolution.files.completes or found.decided.problem not in (None, "refused"):
        return found
    short = f"; {resolution.name} is a short name, and {RESOLVERS_FILE} has no search list that completes it"
    return replace(found, message=found.message + short)


def _noted(found: Finding, resolution: Resolution) -> Finding | None:
    """The same for a name that this node itself would know in another spelling, or that resolvers are not asked for."""
    name, files = resolution.name, resolution.files
    if name.endswith(".") and files.hosts:
        bare = name.rstrip(".")
        message = f"{HOSTS_FILE} gives {listed(files.hosts)} for {bare}, and the control URL has a dot behind the name"
        line = f"Take the dot behind {bare} out of the control URL."
        message += f", with which programs do not find it there: {found.message}"
        return replace(found, message=message, remedies=by_hand(line), decided=DeathFacts(problem="dot"))
    if name.rstrip(".").endswith(_MDNS) and files.services and not any("mdns" in each for each in files.services):
        services = " ".join(files.services)
        note = f"; names in {_MDNS} are for mDNS, which the line hosts of {SWITCH_FILE} ({services}) does not ask"
        return replace(found, message=found.message + note)
    return None


def _nameless(resolution: Resolution, url: ControlUrl, overlay: OverlayState | None) -> Finding:
    known = next((lookup for lookup in resolution.resolvers if lookup.outcome == "answer"), None)
    if known is not None:
        return _no_system_answer(resolution, known, overlay)
    asked = resolution.resolvers or (resolution.system,)
    outcomes = [each.outcome for each in asked]
    for outcome, judged in _REFUSALS.items():
        if outcome in outcomes:
            return _bad_resolver(judged, resolution, asked[outcomes.index(outcome)])
    name, what = resolution.name, "the control host's name"
    negative = [lookup for lookup in asked if lookup.outcome in ("nxdomain", "no-address")]
    if negative and not {"timeout", "failed"} & {resolution.system.outcome}:
        empty = next((lookup for lookup in negative if lookup.outcome == "no-address"), None)
        return Finding(
            codes.CONTROL_DNS_NXDOMAIN,
            f"{what} {name} " + _negative(empty or negative[0]),
            by_hand(
                f"Give {name} the control plane's overlay address in DNS or {HOSTS_FILE}, "
                f"or make {url.scheme}://OVERLAY-ADDRESS:{SERVER_PORT} with that address the control URL."
            ),
            DeathFacts(resolver=address_of(empty or negative[0]), problem="no address" if empty else None),
            "name",
        )
    silent = next((lookup for lookup in asked if lookup.outcome == "timeout"), asked[0])
    return _without_answer(resolution, silent)


def _negative(lookup: Lookup) -> str:
    """What a resolver says of a name without an address. An alias is excerpted: it is what another server says."""
    if lookup.detail.startswith(ALIAS):
        return f"is {excerpt(lookup.detail, SHOWN)} (CNAME), and that name has no address"
    return _EMPTY if lookup.outcome == "no-address" else "does not exist"


def _without_answer(resolution: Resolution, silent: Lookup) -> Finding:
    """What a resolver does that says neither yes nor no."""
    name, what = resolution.name, "the control host's name"
    if silent.outcome == "failed" and resolution.resolvers:
        return Finding(
            codes.CONTROL_DNS_TIMEOUT,
            f"{silent.source} answers for {what} {name}, and has no answer: {silent.detail}",
            look(f"dig +cd @{silent.source} {name}   # with an address here: DNSSEC is what fails"),
            DeathFacts(resolver=silent.source, problem=silent.detail),
            "name",
        )
    if silent.outcome == "unreachable" and silent.detail == _NOT_PERMITTED:
        return Finding(
            codes.HOST_FIREWALL_DROP,
            f"this node's own firewall lets no question about {what} {name} out to the resolver {silent.source}: "
            f"{silent.detail}",
            look("nft list ruleset; iptables-legacy-save", root=True),
            DeathFacts(resolver=silent.source, problem=silent.detail),
            "name",
        )
    if silent.outcome == "unreachable":
        return Finding(
            codes.CONTROL_DNS_TIMEOUT,
            f"no question about {what} {name} leaves for the resolver {silent.source}: {silent.detail}",
            look(f"ip route get {silent.source}   # which route should lead there?"),
            DeathFacts(resolver=silent.source, problem=silent.detail),
            "name",
        )
    return Finding(
        codes.CONTROL_DNS_TIMEOUT,
        f"no resolver answers for {what} {name}",
        look(f"dig @{silent.source} {name}" if resolution.resolvers else f"getent ahosts {name}"),
        DeathFacts(resolver=address_of(silent)),
        "name",
    )


_REFUSALS: dict[LookupOutcome, tuple[Code, str, str, str]] = {
    "refused": (
        codes.CONTROL_DNS_REFUSED,
        "refused",
        "the connection to {resolver} is refused, so nobody listens at this resolver's address",
        "ss -lun 'sport = :53'   # is the resolver at {resolver} running?",
    ),
    "truncated": (
        codes.CONTROL_DNS_TRUNCATED,
        "truncated",
        "the answer of {resolver} about {name} comes truncated over UDP, and TCP port 53, which brings all of it, is "
        "blocked",
        "dig +tcp @{resolver} {name}",
    ),
    "stripped": (
        codes.CONTROL_DNS_STRIPPED,
        "rebind",
        "{resolver} says that it takes the address of {name} out of its answer: its rebind protection drops private "
        "addresses",
        "rebind-domain-ok=/{name}/   # in the configuration of dnsmasq, if {resolver} runs it",
    ),
    "rejected": (
        codes.CONTROL_DNS_REFUSED,
        "refused",
        "{resolver} refused to answer this node's question about {name} (REFUSED)",
        "dig @{resolver} {name}",
    ),
}
"""What a resolver does with a question, by its outcome: the code, the problem, the sentence, and where to look."""
_EMPTY = "exists and has no address, or the resolver takes a private one out silently, as unbound may"
_MDNS = ".local"
ALIAS, SHOWN = "an alias of ", 120
_RESOLVED = "127.0.0.53"
_NOT_PERMITTED = "Operation not permitted"
"""EPERM, the kernel's word for what a rule of its own drops on the way out."""


def _bad_resolver(judged: tuple[Code, str, str, str], resolution: Resolution, lookup: Lookup) -> Finding:
    code, problem, sentence, line = judged
    words = {"resolver": lookup.source, "name": resolution.name}
    remedies = look(line.format(**words))
    if lookup.outcome == "refused" and lookup.source == _RESOLVED:
        remedies = by_hand("systemctl enable --now systemd-resolved", root=True)
    decided = DeathFacts(problem=problem, resolver=address_of(lookup))
    sentence = sentence.format(**words)
    if not resolution.files.names_resolver:
        sentence = f"{RESOLVERS_FILE} names no address of a resolver, so programs ask {lookup.source}, and {sentence}"
        decided = DeathFacts(problem=problem, file=RESOLVERS_FILE)
        remedies = by_hand(f"nameserver ADDRESS-OF-A-RESOLVER   # in {RESOLVERS_FILE}", root=True)
    return Finding(code, sentence, remedies, decided, "name")


def _no_system_answer(resolution: Resolution, known: Lookup, overlay: OverlayState | None) -> Finding:
    """A resolver knows the name but programs get nothing: they do not ask it, or wait for a silent one."""
    name = resolution.name
    if resolution.files.asks_no_resolver:
        services = " ".join(resolution.files.services)
        return Finding(
            codes.CONTROL_DNS_NXDOMAIN,
            f"programs on this node get no address for {name}, which {known.source} knows: the line hosts of "
            f"{SWITCH_FILE} says {services!r}, and no resolver is asked",
            asking_resolvers(resolution.files),
            DeathFacts(file=SWITCH_FILE, problem="no dns"),
            "name",
        )
    silent = next((lookup for lookup in resolution.resolvers if lookup.outcome == "timeout"), None)
    if silent is not None and resolution.system.outcome == "timeout":
        return Finding(
            codes.CONTROL_DNS_TIMEOUT,
            f"programs on this node get no answer in time about {name}; {silent.source} is silent",
            look(f"dig @{silent.source} {name}   # then repair it or remove it from {RESOLVERS_FILE}"),
            DeathFacts(resolver=address_of(silent)),
            "name",
        )
    if known.unanswered and resolution.system.outcome == "timeout":
        return _half_answered(resolution, known, overlay)
    first = resolution.resolvers[0]
    if first.outcome in ("nxdomain", "no-address"):
        return _never_asked(resolution, first, known, overlay)
    return Finding(
        codes.CONTROL_DNS_SPLIT,
        f"programs on this node get no address for {name}, although a resolver has one",
        look(f"getent ahosts {name}; cat {SWITCH_FILE} {RESOLVERS_FILE}"),
        DeathFacts(resolver=address_of(known)),
        "name",
    )


def _never_asked(resolution: Resolution, first: Lookup, known: Lookup, overlay: OverlayState | None) -> Finding:
    """The first resolver says that there is no such name, and then programs do not ask another one."""
    name = resolution.name
    inside = [address for address in known.addresses if placement(address, overlay) == "overlay"]
    either = by_hand(f"Let the resolver {first.source} know {name} too, or ask {known.source} first.", root=True)
    return Finding(
        codes.CONTROL_DNS_SPLIT,
        f"programs on this node get no address for {name}: {first.source}, which they ask first, says that it has "
        f"none, so they never ask {known.source}, which has {listed(known.addresses)}",
        named_here(name, inside[0], resolution.files) if inside else either,
        DeathFacts(resolver=first.source),
        "name",
    )


def half_silent(lookup: Lookup) -> str:
    """What a resolver does that drops questions for one type of record, which programs ask for as well."""
    other = "A" if lookup.unanswered == "AAAA" else "AAAA"
    return (
        f"{lookup.source} answers about its {other} records, {listed(lookup.addresses)}, and leaves questions for "
        f"{lookup.unanswered} records without an answer, for which programs wait"
    )


def _half_answered(resolution: Resolution, known: Lookup, overlay: OverlayState | None) -> Finding:
    message = f"programs on this node get no answer in time about {resolution.name}: {half_silent(known)}"
    decided = DeathFacts(resolver=address_of(known), problem=known.unanswered)
    remedies = _named_or_asked(resolution, known, overlay)
    return Finding(codes.CONTROL_DNS_TIMEOUT, message, remedies, decided, "name")


def _named_or_asked(resolution: Resolution, known: Lookup, overlay: OverlayState | None) -> Remedies:
    inside = [address for address in known.addresses if placement(address, overlay) == "overlay"]
    asked = look(f"dig @{known.source} {known.unanswered} {resolution.name}   # it must answer, and may say: none")
    return named_here(resolution.name, inside[0], resolution.files) if inside else asked


def address_of(lookup: Lookup) -> str | None:
    """The resolver; None for the system's own answer."""
    return None if lookup.source == "system" else lookup.source
