"""Faults of the control plane: its address, its tokens, its nodes, and its names."""

from dataclasses import replace
from typing import TYPE_CHECKING

from preflight.lab.blueprint import Blueprint, Registered, ResolverPlan
from preflight.lab.names import ROUTER
from preflight.lab.part import Part, planned
from preflight.lab.topology import CONTROL_NAME

if TYPE_CHECKING:
    from preflight.lab.network import Network


def drill(words: str) -> Part:
    """The bundled control plane with one of its drills, such as `heartbeat-500`."""
    return planned(f"the control plane drills {words}", loopback=True, server_options=("--fault", words))


def dies_once() -> Part:
    """The control plane is killed after a's first heartbeat took effect, and started again."""
    return planned("the control plane dies during the enrolment and restarts", loopback=True, server_dies=True)


def control_url(url: str | None) -> Part:
    """The URL in a's settings; `{control}`, `{underlay}` and `{port}` are replaced."""
    return planned(f"a's control URL is {url}", loopback=url is None or "{underlay}" not in url, control_url=url)


def registered(summary: str, *rows: Registered) -> Part:
    """The cluster has these nodes already, and the settings say that this node is called `a`."""
    return planned(summary, loopback=True, registered=rows, node={"node": {"id": "a"}})


def resolvers(*plans: ResolverPlan) -> Part:
    """a reaches the control plane by name, and has only these name servers."""

    def inject(network: "Network") -> None:
        to_dns = "meta l4proto { tcp, udp } th dport 53"
        network.nft(ROUTER, *(f"input ip daddr {plan.address} {to_dns} drop" for plan in plans if plan.silent))

    def shape(plan: Blueprint) -> Blueprint:
        return replace(plan, resolvers=plans, control_url=f"http://{CONTROL_NAME}:{{port}}")

    return Part("a resolves the control plane's name through name servers of the lab", shape=shape, inject=inject)


FIRST_RESOLVER = "10.201.1.53"
SECOND_RESOLVER = "10.201.1.54"
