"""What can go wrong with the control plane: its place, its tokens, its nodes, and the names that lead to it."""

from dataclasses import replace
from typing import TYPE_CHECKING

from preflight.lab.blueprint import Bearer, Blueprint, Bootstrap, Certificate, Guards, Registered, ResolverPlan, Server
from preflight.lab.faults import Fault, planned
from preflight.lab.names import ROUTER

if TYPE_CHECKING:
    from preflight.lab.network import Network

CONTROL_NAME = "control.overlay.test"


def server(kind: Server) -> Fault:
    """Something else than the bundled control plane, or nothing at all, is in its place."""
    return planned(f"the control plane's place is taken: {kind}", loopback=True, server=kind)


def drill(words: str) -> Fault:
    """The bundled control plane with one of its own faults, as in `heartbeat-500`."""
    return planned(f"the control plane drills {words}", loopback=True, server_options=("--fault", words))


def dies_once() -> Fault:
    """The control plane is killed at a's first heartbeat, which it had carried out, and started again."""
    return planned("the control plane dies during the enrolment and comes back", loopback=True, server_dies=True)


def control_url(url: str | None) -> Fault:
    """What a's settings say; `{control}`, `{underlay}` and `{port}` are filled in."""
    return planned(f"a's control URL is {url}", loopback=url is None or "{underlay}" not in url, control_url=url)


def listens_everywhere() -> Fault:
    """The control plane is bound to all addresses of its node."""
    return planned("the control plane listens on all addresses", server_listens_on_all=True)


def certificate(kind: Certificate) -> Fault:
    """The control plane speaks TLS, with such a certificate."""
    summary = f"the control plane's certificate is {kind}"
    return planned(summary, certificate=kind, control_url="https://{control}:{port}", loopback=True)


def bootstrap_token(condition: Bootstrap) -> Fault:
    """What is the matter with the one-time token that a was given."""
    return planned(f"the bootstrap token is {condition}", loopback=True, bootstrap=condition)


def bearer(kind: Bearer) -> Fault:
    """a joins with the token that it has, which is not the mesh token."""
    return planned(f"a's token is {kind}", loopback=True, bearer=kind, bootstrap="none")


def guards(kind: Guards) -> Fault:
    """Which secrets the control plane asks for."""
    return planned(f"the control plane's secrets are {kind}", loopback=True, guards=kind)


def one_token() -> Fault:
    """The control plane has one secret for several roles, and a has it under the names of two of them."""
    names = {"VOX_MESH_WORKER_TOKEN": "token", "VOX_MESH_ADMIN_TOKEN": "token"}
    return planned("worker and admin share one token", loopback=True, guards="shared", node_environment=names)


def committed_token() -> Fault:
    """a's settings lie in a git repository, with a token in a compose file that is committed."""
    return planned("a token stands in a committed compose file", loopback=True, committed=True)


def broken_plugin() -> Fault:
    """a has a package of checks of somebody else's, which fails to import."""
    return planned("a plugin of a fails to import", loopback=True, plugin=True)


def registered(summary: str, *rows: Registered) -> Fault:
    """The cluster has these nodes already, and the settings say that this node is called `a`."""
    return planned(summary, loopback=True, registered=rows, node={"node": {"id": "a"}})


def scope(scope_id: str) -> Fault:
    """a believes to belong to another cluster."""
    return planned(f"a's scope id is {scope_id}", loopback=True, scope_id=scope_id)


def resolvers(*plans: ResolverPlan) -> Fault:
    """a reaches the control plane by name, and these name servers are what it has."""

    def inject(network: "Network") -> None:
        to_dns = "meta l4proto { tcp, udp } th dport 53"
        network.nft(ROUTER, *(f"input ip daddr {plan.address} {to_dns} drop" for plan in plans if plan.silent))

    def shape(plan: Blueprint) -> Blueprint:
        return replace(plan, resolvers=plans, control_url=f"http://{CONTROL_NAME}:{{port}}")

    return Fault("a finds the control plane by name, through name servers of the lab", shape=shape, inject=inject)


FIRST_RESOLVER = "10.201.1.53"
SECOND_RESOLVER = "10.201.1.54"
