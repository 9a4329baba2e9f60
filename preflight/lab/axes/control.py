"""The control plane and b's responder: where they are, how a finds and reaches them."""

from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING

from preflight.lab.axes.axis import Axis, Value
from preflight.lab.blueprint import Blueprint, Places, Registered, ResolverPlan
from preflight.lab.front import Act, Front
from preflight.lab.names import SERVER
from preflight.lab.network import UNDERLAY
from preflight.lab.part import Part, planned
from preflight.lab.processes import program, run
from preflight.lab.services import FIRST_RESOLVER
from preflight.lab.topology import CONTROL_DOMAIN, CONTROL_NAME, CONTROL_SHORT, SERVER_LANS

if TYPE_CHECKING:
    from preflight.lab.network import Network

_RESOLVER = (ResolverPlan(FIRST_RESOLVER, {CONTROL_NAME: ("{control}",)}),)
_UNMEASURED = frozenset({"run.needs-responder"})
_UNCONFIRMED = _UNMEASURED | {"run.no-answer"}
"""Without a control plane and a responder no other clock confirms this one, if the kernel's is not synchronised."""
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


def _prefixed(plan: Blueprint) -> Blueprint:
    """A gateway with TLS, and the control plane below a path of it."""
    plan = replace(_tls(plan), front=Front(root=Act(404), prefix=_PREFIX))
    below = {name: url + _PREFIX for name, url in plan.url_variables.items()}
    return replace(plan, control_url=plan.control_url and plan.control_url + _PREFIX, url_variables=below)


_PREFIX = "/mesh"


def _behind(plan: Blueprint) -> Blueprint:
    return replace(plan, server_behind="c", lans={**plan.lans, "c": SERVER_LANS[plan.families[0]]})


def _lay_lan(network: "Network") -> None:
    """The control host, and the LAN between it and the member that forwards to it."""
    member = network.plan.server_behind
    inner, outer = network.names.namespace(SERVER), network.names.namespace(member)
    lan = ip_network(network.plan.lans[member])
    no_wait = " nodad" if lan.version == 6 else ""
    run([program("ip"), "netns", "add", inner])
    lines = [f"link add {_LAN_DEVICE} type veth peer name {UNDERLAY} netns {inner}", f"link set {_LAN_DEVICE} up"]
    _ip(outer, *lines, f"address add {lan[1]}/{lan.prefixlen} dev {_LAN_DEVICE}{no_wait}")
    own = f"address add {lan[2]}/{lan.prefixlen} dev {UNDERLAY}{no_wait}"
    _ip(inner, "link set lo up", f"link set {UNDERLAY} up", own, f"route add default via {lan[1]}")


_LAN_DEVICE = "lan0"


def _ip(namespace: str, *lines: str) -> None:
    run([program("ip"), "-netns", namespace, "-batch", "-"], text="".join(f"{line}\n" for line in lines))


def _at_work(plan: Blueprint) -> Blueprint:
    """Their addresses are not those of members: nobody asks them anything."""
    rows = (Registered(f"w{number}", fields={"listen_addr": f"10.66.0.{70 + number}:9900"}) for number in (1, 2, 3))
    return replace(plan, registered=(*plan.registered, *rows))


_AT_WORK = Part("nodes at work", shape=_at_work, loopback=True)


def _announce_url(plan: Blueprint) -> Blueprint:
    named = [url for url in plan.url_variables.values() if "{control}" in url]
    url = Places.in_tunnel(plan).url(plan.control_url or named[0])
    rows = (Registered(f"w{number}", fields={"listen_addr": url}) for number in (1, 2, 3))
    return replace(plan, registered=(*plan.registered, *rows))


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
        {
            "plain": Value("HTTP"),
            "tls": Value("TLS", (Part("the control plane speaks TLS", shape=_tls, loopback=True),)),
            "prefix": Value("TLS, below a path of a gateway", (Part("a gateway is in front of it", shape=_prefixed),)),
        },
    ),
    "home": Axis(
        "Where is the control plane?",
        {
            "third": Value("on c"),
            "peer": Value("on b", (Part("b hosts the control plane", shape=_at_the_peer, loopback=True),)),
            "behind": Value("in a LAN behind c", (Part("c forwards to its LAN", shape=_behind, underlay=_lay_lan),)),
        },
    ),
    "responder": Axis(
        "Does b run a responder?",
        {
            "key": Value("yes, with a's key"),
            "observing": Value(
                "yes, with a's key, and it reports to a what its observers see",
                (planned("b's responder observes", observing=True),),
            ),
            "keyless": Value("yes, without a key", (planned("no key", responder_key=False),), _UNMEASURED),
            "absent": Value("no", (planned("no responder runs at b", loopback=True, responder=False),), _UNCONFIRMED),
            "filtered": Value(
                "no, and b lets ping and TCP in, nothing else",
                (planned("no responder runs at b", responder=False), Part("b lets in no UDP", tunnels=_filter_probes)),
                _UNCONFIRMED | {"udp.blocked"},
            ),
        },
    ),
    "cluster": Axis(
        "Which nodes does the cluster have already?",
        {
            "empty": Value("none"),
            "working": Value("three, each with its own address", (_AT_WORK,)),
            "announce-url": Value(
                "three, which announce the control URL as their address, as real workers do",
                (Part("nodes that announce the control URL", shape=_announce_url),),
            ),
        },
    ),
    "gateway": Axis(
        "Which program is the gateway in front of the control plane, if there is one?",
        {
            "nginx": Value("nginx"),
            "caddy": Value("Caddy", (planned("the gateway is Caddy", gate="caddy"),)),
            "haproxy": Value("HAProxy", (planned("the gateway is HAProxy", gate="haproxy"),)),
        },
    ),
    "resolver": Axis(
        "What are a's resolvers?",
        {
            "own": Value("they know the name themselves"),
            "dnsmasq": Value("dnsmasq, which asks another", (planned("dnsmasq forwards", forwarder="dnsmasq"),)),
            "unbound": Value("unbound, which asks another", (planned("unbound forwards", forwarder="unbound"),)),
        },
    ),
}
