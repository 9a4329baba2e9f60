"""The control plane and b's responder: where they are, how a finds and reaches them."""

from dataclasses import replace
from typing import TYPE_CHECKING

from preflight.lab.axes.axis import Axis, Value
from preflight.lab.blueprint import Blueprint, ResolverPlan
from preflight.lab.part import Part, planned
from preflight.lab.services import FIRST_RESOLVER
from preflight.lab.topology import CONTROL_DOMAIN, CONTROL_NAME, CONTROL_SHORT

if TYPE_CHECKING:
    from preflight.lab.network import Network

_RESOLVER = (ResolverPlan(FIRST_RESOLVER, {CONTROL_NAME: ("{control}",)}),)
_UNMEASURED = frozenset({"run.needs-responder"})
FIRST_VARIABLE, SECOND_VARIABLE = "VOX_ORCHESTRATOR_MESH_CONTROL_URL", "VOX_MESH_CONTROL_ADDR"
"""Where real workers look for the control URL, in this order."""
HOSTS = f"127.0.0.1 localhost\n::1 localhost\n{{control}} {CONTROL_NAME} {CONTROL_SHORT}\n"
"""a's hosts file where it names the control host."""


def _at_the_peer(plan: Blueprint) -> Blueprint:
    return replace(plan, topology=replace(plan.topology, control_node="b"))


def _tls(plan: Blueprint) -> Blueprint:
    secured = {name: _secured(url) for name, url in plan.url_variables.items()}
    url = plan.control_url and _secured(plan.control_url)
    return replace(plan, certificate="good", control_url=url, url_variables=secured)


def _secured(url: str) -> str:
    return url.replace("http://", "https://")


def _filter_probes(network: "Network") -> None:
    """b lets in what a policy for people lets in: ping, TCP, and answers to what it asked."""
    match = f'input iifname "{network.names.tunnel("b")}"'
    wanted = ("ct state established,related", "meta l4proto { icmp, ipv6-icmp }", "meta l4proto tcp")
    network.nft("b", *(f"{match} {each} accept" for each in wanted), f"{match} drop")


CONTROL = {
    "address": Value("by its address"),
    "none": Value(
        "there is none, and a's settings say nothing of one",
        (planned("there is no control plane", configured=False, server="absent"),),
    ),
    "hosts": Value(
        "by a name in a's hosts file",
        (planned("a's hosts file names it", etc={"hosts": HOSTS}, control_url=f"http://{CONTROL_NAME}:{{port}}"),),
    ),
    "dns": Value(
        "by a name that a's resolver knows",
        (planned("a resolver names it", resolvers=_RESOLVER, control_url=f"http://{CONTROL_NAME}:{{port}}"),),
    ),
    "search": Value(
        "by a short name, which a's search list completes",
        (
            planned(
                "a resolver and a search list name it",
                resolvers=_RESOLVER,
                search=(CONTROL_DOMAIN,),
                control_url=f"http://{CONTROL_SHORT}:{{port}}",
            ),
        ),
    ),
    "fallback": Value(
        "by its address in the second variable; the first is where a server binds, which workers pass over",
        (
            planned(
                "two variables name it",
                control_url=None,
                url_variables={FIRST_VARIABLE: "http://0.0.0.0:{port}", SECOND_VARIABLE: "http://{control}:{port}"},
            ),
        ),
    ),
}

AXES = {
    "control": Axis("How does a name the control plane?", CONTROL),
    "transport": Axis(
        "How does the control plane speak?",
        {"plain": Value("HTTP"), "tls": Value("TLS", (Part("the control plane speaks TLS", shape=_tls),))},
    ),
    "home": Axis(
        "Where is the control plane?",
        {"third": Value("on c"), "peer": Value("on b", (Part("b hosts the control plane", shape=_at_the_peer),))},
    ),
    "responder": Axis(
        "Does b run a responder?",
        {
            "key": Value("yes, with a's key"),
            "keyless": Value("yes, without a key", (planned("no key", responder_key=False),), _UNMEASURED),
            "absent": Value("no", (planned("no responder runs at b", responder=False),), _UNMEASURED),
            "filtered": Value(
                "no, and b lets ping and TCP in, nothing else",
                (planned("no responder runs at b", responder=False), Part("b lets in no UDP", tunnels=_filter_probes)),
                _UNMEASURED,
            ),
        },
    ),
}
