"""Why programs get no address for the control host's name: which source decides, and what it did."""

from dataclasses import replace
from ipaddress import ip_interface, ip_network

import pytest

from preflight.model.dns import Lookup, LookupOutcome, NameFiles, Resolution
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.proto.control.nameless import nameless
from preflight.proto.control.naming import names_a_resolver
from preflight.proto.control.url import ControlUrl
from tests.kernel_says import routed

NAME, INSIDE, OUTSIDE = "control.mesh.example", "10.66.0.3", "192.0.2.3"
URL = ControlUrl("http", NAME, 9847)
OVERLAY = routed(
    OverlayState(
        product="wireguard",
        interface="wg0",
        up=True,
        mtu=1420,
        addresses=(ip_interface("10.66.0.1/24"),),
        peers=(OverlayPeer("k", addresses=(ip_network("10.66.0.3/32"),)),),
    ),
    inside=[INSIDE],
    outside=[OUTSIDE],
)


FILES = NameFiles("files dns")


def asked(system: LookupOutcome, *resolvers: Lookup, files: NameFiles = FILES) -> Resolution:
    return Resolution(NAME, Lookup("system", system), resolvers, files=files)


def no(source: str, outcome: LookupOutcome, detail: str = "") -> Lookup:
    return Lookup(source, outcome, detail=detail)


@pytest.mark.parametrize(
    ("resolution", "code", "words", "kind"),
    [
        (asked("nxdomain", no("r1", "nxdomain")), "control.dns-nxdomain", "does not exist", "fix"),
        (asked("timeout", no("r1", "timeout")), "control.dns-timeout", "no resolver answers", "next"),
        (asked("timeout", no("r1", "failed", "SERVFAIL")), "control.dns-timeout", "has no answer: SERVFAIL", "next"),
        (asked("timeout", no("r1", "refused")), "control.dns-refused", "nobody listens", "next"),
        (
            asked("nxdomain", no("r1", "nxdomain"), Lookup("r2", "answer", (INSIDE,))),
            "control.dns-split",
            "never ask r2",
            "fix",
        ),
        (
            asked("timeout", no("r1", "timeout"), Lookup("r2", "answer", (INSIDE,))),
            "control.dns-timeout",
            "r1 is silent",
            "next",
        ),
        (
            asked("nxdomain", Lookup("r1", "answer", (INSIDE,)), files=NameFiles("files")),
            "control.dns-nxdomain",
            "no resolver is asked",
            "fix",
        ),
    ],
)
def test_what_decides(resolution: Resolution, code: str, words: str, kind: str) -> None:
    """An error is an answer, and a resolver that is never asked is not a silent one."""
    found = nameless(resolution, URL, OVERLAY)
    assert (found.code.slug, found.station) == (code, "name")
    assert words in found.message
    assert {remedy.kind for remedy in found.remedies} == {kind}


def test_only_an_address_on_the_overlay_goes_into_the_hosts_file() -> None:
    """A resolver that nobody asks may be a stranger's."""
    known = Lookup("r2", "answer", (OUTSIDE,))
    found = nameless(asked("nxdomain", no("r1", "nxdomain"), known), URL, OVERLAY)
    assert not any(OUTSIDE in line for remedy in found.remedies for line in remedy.lines)


def test_a_list_without_resolvers() -> None:
    """The C library then asks this node itself, which nobody wrote anywhere."""
    resolution = asked("timeout", no("127.0.0.1", "refused"))
    empty = replace(resolution, files=NameFiles("files dns", names_resolver=False))
    found = nameless(empty, URL, OVERLAY)
    assert (found.code.slug, found.decided.file) == ("control.dns-refused", "/etc/resolv.conf")
    assert "names no address of a resolver" in found.message
    assert names_a_resolver("search x\nnameserver 192.0.2.1\n")
    assert not names_a_resolver("nameserver\n# nameserver 192.0.2.1\noptions ndots:1\n")


def test_a_resolver_that_drops_one_kind_of_question() -> None:
    """Programs ask for both kinds of address and wait for both: it is not a resolver that they never ask."""
    half = Lookup("r1", "answer", (INSIDE,), unanswered="AAAA")
    found = nameless(asked("timeout", half), URL, OVERLAY)
    assert (found.code.slug, found.decided.problem) == ("control.dns-timeout", "AAAA")
    assert "leaves questions for AAAA records without an answer" in found.message
    assert [remedy.kind for remedy in found.remedies] == ["fix"]
    outside = nameless(asked("timeout", replace(half, addresses=(OUTSIDE,))), URL, OVERLAY)
    assert [remedy.kind for remedy in outside.remedies] == ["next"]


def test_a_short_name_that_nothing_completes() -> None:
    """The resolver is right: there is not any such name."""
    resolution = replace(asked("nxdomain", no("r1", "nxdomain")), name="control")
    bare = replace(resolution, files=replace(FILES, completes=False))
    assert "no search list" in nameless(bare, URL, OVERLAY).message
    assert "search list" not in nameless(resolution, URL, OVERLAY).message
    assert "search list" not in nameless(replace(bare, name=NAME), URL, OVERLAY).message


def test_an_alias_of_a_name_without_an_address() -> None:
    """Protects the lever: the record of the control host's name is right, and what it leads to lacks."""
    for outcome in ("nxdomain", "no-address"):
        found = nameless(asked("nxdomain", no("10.66.0.53", outcome, "an alias of gone.example")), URL, OVERLAY)
        assert "is an alias of gone.example (CNAME), and that name has no address" in found.message


def test_a_dot_behind_a_name_of_the_hosts_file() -> None:
    """Programs look only for the plain name there."""
    files, system = NameFiles("files dns", (INSIDE,)), Lookup("system", "nxdomain")
    dotted = Resolution(f"{NAME}.", system, (no("10.66.0.53", "nxdomain"),), files=files)
    found = nameless(dotted, URL, OVERLAY)
    assert f"Take the dot behind {NAME}" in found.remedies[0].lines[0]
    assert found.decided.problem == "dot"


def test_a_name_that_only_mdns_has() -> None:
    """The switch does not ask it."""
    local = Resolution("c.local", Lookup("system", "nxdomain"), (no("10.66.0.53", "nxdomain"),), files=FILES)
    assert "mDNS" in nameless(local, URL, OVERLAY).message
    asks = Resolution("c.local", local.system, local.resolvers, files=NameFiles("files mdns4_minimal dns"))
    assert "mDNS" not in nameless(asks, URL, OVERLAY).message
