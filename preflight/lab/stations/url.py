"""Faults of the control URL: where a has it from, and how it is written."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from preflight.lab.axes.control import FIRST_VARIABLE, SECOND_VARIABLE
from preflight.lab.axes.setup import Setup
from preflight.lab.blueprint import Blueprint
from preflight.lab.part import Part, planned
from preflight.lab.stations import asks
from preflight.lab.stations.fault import Fault, NotThereError
from preflight.lab.truth import Deciding, Healer, Place, Truth

if TYPE_CHECKING:
    from preflight.lab.network import Network

_SOURCE, _PARSE = Place("request", "source"), Place("request", "parse")
_HOST = re.compile(r"(?<=://)[^:/]+")
_API = "/v1/populi"


def _rewritten(summary: str, change: Callable[[str], str], *, loopback: bool = False) -> Part:
    """The URL that leads a to the control plane is written another way, in its settings or its second variable."""

    def shape(plan: Blueprint) -> Blueprint:
        if plan.control_url is not None:
            return replace(plan, control_url=change(plan.control_url))
        changed = {name: change(url) for name, url in plan.url_variables.items() if name == SECOND_VARIABLE}
        return replace(plan, url_variables={**plan.url_variables, **changed})

    return Part(summary, shape=shape, loopback=loopback)


def _healer(setup: Setup) -> Healer:
    """What changes the URL where it is."""
    return "command" if setup.control == "fallback" else "file"


# The source


def _missing(setup: Setup) -> tuple[Part, ...]:
    return (planned("a has no control URL", loopback=True, control_url=None, url_variables={}),)


def _no_url(network: "Network") -> None:
    if network.plan.control_url is not None or network.plan.url_variables:
        raise NotThereError("a has a control URL")


def _binds(setup: Setup) -> tuple[Part, ...]:
    return (
        _rewritten("a's only control URL is where the server binds", at_host("0.0.0.0"), loopback=True),  # noqa: S104
    )


def _switched_off(name: str, variable: str) -> Fault:
    def prove(network: "Network") -> None:
        file = network.plan.node_environment.get(variable, "")
        asks.must(asks.content(network.names.files("a") / file) == b"0", "a's workers may join")

    return Fault(
        name=name,
        summary=f"{variable} of a's environment keeps workers out of the cluster",
        place=_SOURCE,
        made=lambda setup: (
            asks.variables("a's workers stay out", **{variable: "join"}),
            asks.written("the variable is 0", "join", lambda network: b"0"),
        ),
        expected=lambda setup: Truth(
            "enroll.switched-off", "control", deciding=Deciding("variable", variable), warns=True
        ),
        proof=prove,
    )


def at_host(host: str) -> Callable[[str], str]:
    """The same URL with another host."""
    return lambda url: _HOST.sub(host, url)


def _only_bind_all(network: "Network") -> None:
    urls = [*filter(None, [network.plan.control_url]), *network.plan.url_variables.values()]
    if not urls or not all("//0.0.0.0:" in url for url in urls):
        raise NotThereError(f"a has another control URL: {', '.join(urls)}")


def _elsewhere(plan: Blueprint) -> str:
    """The overlay address of a member that is neither a nor the control host."""
    return plan.address("c" if plan.topology.control_node == "b" else "b", plan.families[0])


def _stale_variable(setup: Setup) -> tuple[Part, ...]:
    def shape(plan: Blueprint) -> Blueprint:
        address = _elsewhere(plan)
        url = f"http://[{address}]:{{port}}" if ":" in address else f"http://{address}:{{port}}"
        return replace(plan, url_variables={**plan.url_variables, FIRST_VARIABLE: url})

    return (Part("a's first variable has the address of an earlier control host", shape=shape),)


def _nobody_listens_there(network: "Network") -> None:
    url, earlier = network.plan.url_variables.get(FIRST_VARIABLE, ""), _elsewhere(network.plan)
    if earlier not in url:
        raise NotThereError(f"{FIRST_VARIABLE} does not lead to {earlier}: {url}")
    asks.connection_ends("refused", to=lambda network: earlier)(network)


def _stale_variable_is(setup: Setup) -> Truth:
    return Truth(
        "control.url-conflict",
        "control",
        place=_SOURCE,
        deciding=Deciding("variable", FIRST_VARIABLE),
        heals="command",
        vague=("control.refused", "control.timeout", "control.unreachable"),
    )


# How it is written


def _problem(word: str, *vague: str, heals: bool = True, code: str = "control.url-invalid") -> Callable[[Setup], Truth]:
    def expected(setup: Setup) -> Truth:
        return Truth(
            code,
            "control",
            place=_PARSE,
            deciding=Deciding("problem", word),
            heals=_healer(setup) if heals else "nothing",
            vague=vague,
        )

    return expected


def _zone_is(setup: Setup) -> Truth:
    """Nothing in the URL says which member is meant: a asks those whose addresses its settings or its tunnel have."""
    truth = _problem("zone")(setup)
    known = setup.home == "peer" or (setup.home == "third" and knows_members(setup))
    return truth if known else replace(truth, heals="nothing")


def knows_members(setup: Setup) -> bool:
    """Whether a may read which member has which overlay address: from its own tunnel to each of them."""
    return setup.product == "wireguard" and setup.layout == "mesh" and setup.user == "root"


def _no_port_is(setup: Setup) -> Truth:
    """Nobody listens there, and at the usual port of a control plane one answers."""
    return Truth("control.refused", "control", place=Place("request", "connect"), heals=_healer(setup))


def _written(
    name: str, summary: str, change: Callable[[str], str], mistake: str, expected: Callable[[Setup], Truth]
) -> Fault:
    """A fault in how the URL is written. mistake: a regular expression for every such URL, and for no right one."""
    return Fault(
        name=name,
        summary=summary,
        place=_PARSE,
        made=lambda setup: (_rewritten(summary, change),),
        expected=expected,
        proof=asks.url_matches(mistake),
    )


FAULTS = (
    Fault(
        name="source-missing",
        summary="a has a token and a scope, and no control URL",
        place=_SOURCE,
        made=_missing,
        expected=lambda setup: Truth("control.url-missing", "control", place=_SOURCE),
        proof=_no_url,
    ),
    Fault(
        name="source-bind-all",
        summary="a's only control URL is the server's bind address 0.0.0.0",
        place=_SOURCE,
        made=_binds,
        expected=lambda setup: Truth("control.url-bind-all", "control", place=_SOURCE),
        proof=_only_bind_all,
    ),
    _switched_off("source-switched-off", "VOX_MESH_HTTP_JOIN"),
    _switched_off("source-disabled", "VOX_MESH_ENABLED"),
    Fault(
        name="source-disagree",
        summary="a's first variable names an earlier control host, its settings the right one",
        place=_SOURCE,
        made=_stale_variable,
        expected=_stale_variable_is,
        proof=_nobody_listens_there,
        alone=True,  # the earlier control host is b, and the other fault may be on the way there
    ),
    _written(
        "parse-quotes",
        "a's control URL is in quotes, which are part of it",
        lambda url: f'"{url}"',
        '^"http',
        _problem("quotes"),
    ),
    _written(
        "parse-colon",
        "a's control URL has no colon behind its scheme",
        lambda url: url.replace("://", "//", 1),
        "^https?//",
        _problem("colon", "control.dns-nxdomain", "control.dns-timeout"),
    ),
    _written(
        "parse-comment",
        "a's control URL has a comment behind it, which is part of it",
        lambda url: f"{url} # of the mesh",
        " # of the mesh$",
        _problem("comment"),
    ),
    _written(
        "parse-variable",
        "a's control URL has a variable in it that nothing has replaced",
        at_host("$CONTROL_HOST"),
        r"\$CONTROL_HOST",
        _problem("variable", heals=False),
    ),
    _written(
        "parse-user",
        "a's control URL has a user and a password in it",
        lambda url: url.replace("://", "://worker:password@", 1),
        "worker:password@",
        _problem("password"),
    ),
    _written(
        "parse-api-path",
        "a's control URL ends with the path of the API",
        lambda url: f"{url}{_API}",
        _API,
        _problem(_API, "control.not-populi", "control.unhealthy"),
    ),
    _written(
        "parse-port",
        "a's control URL has the port 0",
        lambda url: url.replace(":{port}", ":0", 1),
        ":0(/|$)",
        _problem("port"),
    ),
    _written(
        "parse-no-port",
        "a's control URL has no port, so that of its scheme is asked, where nobody listens",
        lambda url: url.replace(":{port}", "", 1),
        r"^https?://(\[[0-9a-f:]+\]|[^:/]+)(/|$)",
        _no_port_is,
    ),
    _written(
        "parse-zone",
        "a's control URL has an address with a zone, which means something on one node only",
        at_host("[fe80::3%25wg0]"),
        "%25wg0",
        _zone_is,
    ),
    _written(
        "parse-loopback",
        "a's control URL was copied from the control host: it says 127.0.0.1",
        at_host("127.0.0.1"),
        "//127.0.0.1",
        _problem("loopback", "control.refused", heals=False, code="control.url-off-overlay"),
    ),
)
