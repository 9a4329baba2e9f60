"""Faults of the control plane: its address, its tokens, its nodes, and its names."""

from dataclasses import replace
from typing import TYPE_CHECKING

from preflight.lab.blueprint import Bearer, Blueprint, Bootstrap, Certificate, Guards, Registered, ResolverPlan, Server
from preflight.lab.names import ROUTER
from preflight.lab.part import Part, planned
from preflight.lab.topology import CONTROL_NAME

if TYPE_CHECKING:
    from preflight.lab.network import Network


def server(kind: Server) -> Part:
    """Another server, or none, is at the control plane's address."""
    return planned(f"another server is at the control plane's address: {kind}", loopback=True, server=kind)


def drill(words: str) -> Part:
    """The bundled control plane with one of its drills, such as `heartbeat-500`."""
    return planned(f"the control plane drills {words}", loopback=True, server_options=("--fault", words))


def dies_once() -> Part:
    """The control plane is killed after a's first heartbeat took effect, and started again."""
    return planned("the control plane dies during the enrolment and restarts", loopback=True, server_dies=True)


def control_url(url: str | None) -> Part:
    """The URL in a's settings; `{control}`, `{underlay}` and `{port}` are replaced."""
    return planned(f"a's control URL is {url}", loopback=url is None or "{underlay}" not in url, control_url=url)


def listens_everywhere() -> Part:
    """The control plane is bound to all addresses of its node."""
    return planned("the control plane listens on all addresses", server_listens_on_all=True)


def certificate(kind: Certificate) -> Part:
    """The control plane speaks TLS, with this kind of certificate."""
    summary = f"the control plane's certificate is {kind}"
    return planned(summary, certificate=kind, control_url="https://{control}:{port}", loopback=True)


def bootstrap_token(condition: Bootstrap) -> Part:
    """The fault of a's one-time token."""
    return planned(f"the bootstrap token is {condition}", loopback=True, bootstrap=condition)


def bearer(kind: Bearer) -> Part:
    """a joins with a token that is not the mesh token."""
    return planned(f"a's token is {kind}", loopback=True, bearer=kind, bootstrap="none")


def guards(kind: Guards) -> Part:
    """Which secrets the control plane requires."""
    return planned(f"the control plane's secrets are {kind}", loopback=True, guards=kind)


def one_token() -> Part:
    """The control plane has one secret for several roles, and a has it under the names of two of them."""
    names = {"VOX_MESH_WORKER_TOKEN": "token", "VOX_MESH_ADMIN_TOKEN": "token"}
    return planned("worker and admin share one token", loopback=True, guards="shared", node_environment=names)


def committed_token() -> Part:
    """a's settings are in a git repository, with a token in a committed compose file."""
    return planned("a token is in a committed compose file", loopback=True, committed=True)


def broken_plugin() -> Part:
    """a has a third-party package of checks that fails to import."""
    return planned("a plugin of a fails to import", loopback=True, plugin=True)


def registered(summary: str, *rows: Registered) -> Part:
    """The cluster has these nodes already, and the settings say that this node is called `a`."""
    return planned(summary, loopback=True, registered=rows, node={"node": {"id": "a"}})


def scope(scope_id: str) -> Part:
    """a has the scope of another cluster."""
    return planned(f"a's scope id is {scope_id}", loopback=True, scope_id=scope_id)


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
