"""The control plane and b's responder: where they are, how a finds and reaches them."""

from dataclasses import replace

from preflight.lab.axes.axis import Axis, Value
from preflight.lab.blueprint import Blueprint
from preflight.lab.part import Part, planned


def _at_the_peer(plan: Blueprint) -> Blueprint:
    return replace(plan, topology=replace(plan.topology, control_node="b"))


def _tls(plan: Blueprint) -> Blueprint:
    url = plan.control_url and plan.control_url.replace("http://", "https://")
    return replace(plan, certificate="good", control_url=url)


AXES = {
    "control": Axis("How does a name the control plane?", {"address": Value("by its address")}),
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
            "absent": Value(
                "no", (planned("no responder runs at b", responder=False),), frozenset({"run.needs-responder"})
            ),
        },
    ),
}
