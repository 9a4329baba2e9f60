"""The rules of a diagnosis, as data: which code explains which, under which condition, and how deep each code lies.

The order of `RULES` means nothing: rank is in `DEPTH`, and a test shuffles the rules.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from preflight.engine.conditions import (
    Condition,
    as_much_as_fits,
    as_old_as_the_skew,
    at_a_station,
    but_for_tcp,
    by_echo,
    by_one_filter,
    by_silence,
    of_a_join,
    of_large_packets,
    of_one_rule,
    of_rules_unread,
    of_the_clock,
    of_the_exit,
    of_the_mtu,
    of_the_peer,
    of_the_routes,
    of_the_silent,
    of_what_posture_asks,
    same_lever,
    same_way,
    sent_from_its_address,
    unanswered,
    without_addresses,
)

DEPTH: Mapping[str, tuple[str, ...]] = {
    "host": (
        "host.no-raw-socket",
        "host.rp-filter",
        "host.captive-portal",
        "host.network-dead",
        "host.proxy-env",
        "host.clock-unsynced",
        "host.firewall-drop",
    ),
    "overlay": (
        "overlay.absent",
        "overlay.down",
        "overlay.daemon-down",
        "overlay.no-address",
        "overlay.logged-out",
        "overlay.key-expired",
        "overlay.not-authorized",
        "overlay.not-joined",
        "overlay.subnet-conflict",
        "overlay.mtu-too-big",
        "overlay.mtu-too-small",
        "overlay.exit-node-lan",
        "overlay.route-leak",
        "overlay.endpoint-loop",
        "overlay.allowed-ips",
        "overlay.duplicate-*",
        "overlay.port-conflict",
        "overlay.preshared-key",
        "overlay.wrong-source",
        "overlay.endpoint-hairpin",
        "overlay.endpoint-answers-elsewhere",
        "overlay.offline",
        "overlay.relay-unreachable",
        "overlay.peer-lost",
        "overlay.no-handshake",
        "overlay.handshake-stale",
        "overlay.policy-drop",
        "overlay.no-keepalive",
        "overlay.relayed",
    ),
    "reach": ("reach.no-forward", "reach.no-reverse", "reach.unreachable", "reach.policed"),
    "mtu": ("mtu.black-hole",),
    "udp": ("udp.blocked", "udp.loss"),
    "perf": (),
    # The way to the control plane, in the order in which a client takes it.
    "control": (
        "control.dns-split",  # resolvers that disagree explain an address off the overlay
        "control.url-*",
        *(f"control.dns-{how}" for how in ("search", "nxdomain", "stripped", "truncated", "refused", "timeout")),
        "control.address-family",
        "control.dead-address",
        "control.refused",
        "control.connection-reset",
        "control.unreachable",
        "control.timeout",
        "control.clock-skew",
        "control.client-certificate",
        "control.tls-*",
        "control.not-populi",
        "control.redirected",
        "control.unhealthy",
        "control.bad-answer",
        "control.throttled",
        "control.slow",
    ),
    "enroll": ("enroll.scope-mismatch", "enroll.bootstrap-*", "enroll.unauthorized"),
    "posture": ("posture.open",),
    "nodes": ("nodes.quarantined",),
    "run": (),
    "fleet": (),
}
"""The areas of codes from the lowest layer upwards, and in each its codes from the deepest upwards.

Only what is deeper explains. Codes of one pattern are equally deep, and so are all codes of an area that it does not
name; they lie above those that it names.
"""

LAYERS = tuple(DEPTH)


@dataclass(frozen=True, slots=True)
class Rule:
    """Results whose code matches `cause` explain those whose code matches one of `effects`.

    where: `same` = about the same target; `node` = a cause about this node reaches every target; `all` = a cause about
    a peer does too; `control` = the same target, or the control plane if the cause's target hosts it.
    condition: must hold for each result of the effect with at least one result of the cause.
    """

    cause: str
    effects: tuple[str, ...]
    where: str = "same"
    condition: Condition | None = None


_PATH = ("reach.*", "mtu.*", "udp.*", "run.needs-responder")
_NO_SESSION = ("overlay.no-handshake", "overlay.handshake-stale")
_UNMEASURED = ("mtu.*", "udp.*", "run.needs-responder")
_DROPPED = (
    *(f"reach.{how}" for how in ("unreachable", "no-forward", "no-reverse", "loss", "asymmetric")),
    "udp.blocked",
    "udp.loss",
    "run.needs-responder",
)
_SILENT = (
    *("control.unreachable", "control.timeout", "control.slow"),
    *("control.address-family", "control.dead-address"),
)
# A host that refuses was reached: it takes another host, or a firewall, to refuse in its place.
_CONTROL_PATH = (*_SILENT, "control.refused")
# Without its route an address of the overlay leads outside.
_OUTSIDE = ("control.url-off-overlay", "control.plain-http")
_OTHER_SERVER = tuple(
    f"control.{how}"
    for how in (
        *("connection-reset", "client-certificate", "tls-failed", "tls-untrusted", "tls-name"),
        *("not-populi", "redirected", "unhealthy", "throttled"),
    )
)
_NAMELESS = tuple(f"control.dns-{how}" for how in ("nxdomain", "timeout", "refused", "truncated", "stripped", "search"))
_NOT_AS_PROMISED = tuple(
    f"control.{how}" for how in ("not-populi", "redirected", "unhealthy", "bad-answer", "throttled")
)
_ENROL_REQUESTS = tuple(
    f"enroll.{step}" for step in ("join-failed", "heartbeat-failed", "lease-failed", "leave-failed")
)
_ENROL_STEPS = ("enroll.join-failed", "enroll.heartbeat-failed", "enroll.not-listed", "enroll.lease-failed")
_ENDED = ("run.timeout", "run.interrupted", "run.no-answer")

RULES: tuple[Rule, ...] = (
    # This node's own state, before anything that leaves it.
    Rule(
        "overlay.absent", ("overlay.*", *_PATH, *_CONTROL_PATH, *_OUTSIDE, "run.needs-peers", "run.no-answer"), "node"
    ),
    *(
        Rule(
            cause,
            ("overlay.*", *_PATH, *_CONTROL_PATH, *_OUTSIDE, "run.needs-peers", "run.no-answer", "control.dns-*"),
            "node",
        )
        for cause in (
            "overlay.down",
            "overlay.daemon-down",
            "overlay.no-address",
            "overlay.logged-out",
            "overlay.key-expired",
            "overlay.not-authorized",
            "overlay.not-joined",
        )
    ),
    Rule(
        "overlay.mtu-too-small",
        ("overlay.*", *_PATH, *_CONTROL_PATH, *_OUTSIDE, "run.needs-peers", "run.no-answer", "control.dns-*"),
        "node",
        without_addresses,
    ),
    # What the product itself says is a failure only where nobody answers, and then accounts for that.
    *(
        Rule(
            cause,
            (
                *("overlay.relay-unreachable", "overlay.peer-lost", "overlay.no-handshake", "overlay.handshake-stale"),
                *("overlay.relayed", *_PATH, *_SILENT),
            ),
            "node",
        )
        for cause in ("overlay.offline", "overlay.relay-unreachable")
    ),
    Rule("overlay.policy-drop", (*_PATH, *_SILENT), "node"),
    # Behind a session that lives nothing comes back of what this node's own rule keeps from leaving.
    Rule("host.firewall-drop", ("overlay.policy-drop",), condition=at_a_station),
    *(
        Rule(f"overlay.{cause}", ("overlay.no-handshake", *_PATH, *_SILENT), "node", by_silence)
        for cause in ("unhealthy", "duplicate-key")
    ),
    *(Rule(f"overlay.{cause}", _NAMELESS, "node") for cause in ("dns-overwritten", "names-not-accepted", "unhealthy")),
    *(
        Rule(cause, (*_PATH, "overlay.relayed", *_SILENT, *_ENDED), "control")
        for cause in ("overlay.policy-drop", "overlay.peer-lost")
    ),
    Rule("overlay.peer-lost", ("overlay.exit-node-gone",), "all", of_the_exit),
    # Why traffic is relayed is not asked where none of it arrives.
    *(Rule(f"reach.{how}", ("overlay.relayed",)) for how in ("unreachable", "no-forward", "no-reverse")),
    # The daemon's own reason is in the sentence about the path.
    Rule("overlay.relayed", ("overlay.unhealthy",), "all", same_lever),
    Rule("overlay.subnet-conflict", ("host.rp-filter", "overlay.route-leak", *_CONTROL_PATH, *_OUTSIDE), "all"),
    Rule("overlay.subnet-conflict", ("overlay.*", *_PATH)),
    # Only what is long: small packets pass whatever the MTU is.
    Rule("overlay.mtu-too-big", ("mtu.*", "control.timeout", "control.tls-failed"), "node", as_much_as_fits),
    Rule("overlay.mtu-too-big", _ENROL_REQUESTS, "node", unanswered),
    Rule("overlay.mtu-too-small", ("mtu.below-minimum",), "node"),
    # The file still has the MTU that the tunnel had.
    Rule("overlay.mtu-too-small", ("overlay.config-drift",), "node", of_the_mtu),
    Rule("host.no-raw-socket", ("run.needs-privilege",), "node", by_echo),
    Rule("host.rp-filter", (*_DROPPED, *_SILENT), "node", of_the_silent),
    Rule("host.rp-filter", ("overlay.route-leak",), condition=of_the_peer),
    Rule("reach.no-reverse", ("reach.no-reverse",), condition=of_the_peer),
    Rule(
        "host.captive-portal",
        (
            *(*_CONTROL_PATH, *_OTHER_SERVER, *_OUTSIDE, "control.dns-*"),
            *("overlay.no-handshake", "overlay.handshake-stale", *_PATH, "run.no-answer", "host.network-dead"),
        ),
        "node",
    ),
    Rule(
        "host.network-dead",
        (*_CONTROL_PATH, "control.dns-timeout", *_NO_SESSION, *_PATH, *_ENDED),
        "node",
    ),
    Rule("host.proxy-env", (*_CONTROL_PATH, *_OTHER_SERVER), "node"),
    *(Rule(cause, _ENROL_REQUESTS, "node") for cause in ("host.captive-portal", "host.proxy-env")),
    Rule("host.clock-unsynced", ("control.clock-skew", "control.tls-expired", "control.tls-not-yet-valid"), "node"),
    # With the uplink, or its gateway, the way to all name servers behind it is gone; also to those behind the tunnel.
    *(Rule(cause, ("control.dns-timeout",), "all") for cause in ("host.uplink-down", "host.gateway-dead")),
    # The tunnel to one peer.
    Rule("overlay.route-leak", ("host.rp-filter",), "all"),
    Rule("overlay.route-leak", ("overlay.route-leak", *_NO_SESSION, *_PATH, *_CONTROL_PATH, *_OUTSIDE), "control"),
    Rule("overlay.route-leak", ("overlay.routes-not-accepted",), "all", same_lever),
    *(Rule("overlay.endpoint-loop", ("overlay.*", *_PATH, *_SILENT), where) for where in ("control", "node")),
    # What the rules of an overlay take from another one is the reason for each of the ways that lead elsewhere.
    *(Rule(f"overlay.{how}", ("overlay.*", *_PATH, *_CONTROL_PATH), "node") for how in ("exit-node-lan", "route-leak")),
    Rule("overlay.allowed-ips", ("overlay.allowed-ips", "overlay.no-handshake", *_PATH, *_SILENT), "control"),
    Rule("overlay.duplicate-*", (*_NO_SESSION, *_PATH, *_CONTROL_PATH, *_OUTSIDE, *_ENDED), "control"),
    Rule("overlay.duplicate-address", ("control.timeout", "run.timeout"), "all", sent_from_its_address),
    # A tunnel without its port sends nothing to anyone, also no question for a name that it should carry.
    Rule("overlay.port-conflict", ("overlay.config-drift", "control.dns-timeout", *_SILENT, *_ENDED), "all"),
    *(Rule(cause, ("overlay.no-keepalive", *_PATH, *_SILENT, *_ENDED), "control") for cause in _NO_SESSION),
    Rule("overlay.no-keepalive", ("udp.nat-timeout",)),
    Rule("overlay.relayed", ("udp.jitter", "control.slow", "mtu.reduced"), "control"),
    # The path to one peer.
    Rule("host.firewall-drop", (*_PATH, *_CONTROL_PATH), "control", same_way),
    Rule("host.firewall-drop", ("reach.unreachable",), "all", of_rules_unread),
    # Whatever a responder was asked, its answer is a part of the question.
    Rule("host.firewall-drop", ("run.needs-responder",)),
    *(
        Rule(cause, ("reach.unreachable", "reach.loss", "reach.asymmetric", *_UNMEASURED, *_SILENT), "control")
        for cause in ("reach.no-forward", "reach.no-reverse")
    ),
    Rule("reach.unreachable", ("reach.loss", *_UNMEASURED, *_SILENT), "control"),
    Rule("reach.policed", ("reach.loss", "udp.loss", "mtu.*", "control.slow", *_SILENT), "control", same_way),
    # A finding from ICMP alone is not about UDP.
    Rule("udp.blocked", ("udp.*", "run.needs-responder"), condition=of_one_rule),
    Rule("udp.blocked", ("reach.icmp-filtered",), condition=by_one_filter),
    Rule("reach.icmp-filtered", ("run.needs-responder",), condition=but_for_tcp),
    # The packets that measure loss are small: they pass a black hole.
    Rule("mtu.black-hole", ("mtu.*",), "control", same_way),
    Rule("mtu.black-hole", ("run.timeout",), "control", of_large_packets),
    Rule("mtu.black-hole", ("control.timeout", "control.tls-failed", "run.no-answer"), "control"),
    Rule("mtu.black-hole", _ENROL_REQUESTS, "control", unanswered),
    Rule("udp.loss", ("reach.loss", "control.slow"), "control", same_way),
    Rule("control.dns-split", ("control.url-off-overlay", "control.plain-http", *_CONTROL_PATH, *_OTHER_SERVER)),
    *(Rule(cause, ("control.*",)) for cause in ("control.url-*", *_NAMELESS)),
    *(
        Rule(cause, ("control.timeout", "control.tls-failed", "control.unhealthy", "control.slow"))
        for cause in (
            "control.address-family",
            "control.dead-address",
            "control.refused",
            "control.unreachable",
            "control.timeout",
        )
    ),
    Rule("enroll.unauthorized", ("enroll.settings-disagree",), condition=lambda _, it: it.aspect in ("", "token")),
    Rule("enroll.scope-mismatch", ("enroll.settings-disagree",), condition=lambda _, it: it.aspect in ("", "scope")),
    Rule("control.clock-skew", ("control.tls-expired", "control.tls-not-yet-valid")),
    # Of two clocks that differ, one alone does not say which is right.
    Rule("control.clock-skew", ("run.no-answer",), "all", of_the_clock),
    # The times in its list were written by a clock that may have been right then: the next run shows.
    Rule("control.clock-skew", ("nodes.stale",), condition=as_old_as_the_skew),
    *(
        Rule(f"control.{how}", _ENROL_REQUESTS, condition=unanswered)
        for how in (
            *(
                "dns-*",
                "url-*",
                "address-family",
                "dead-address",
                "refused",
                "connection-reset",
                "unreachable",
                "timeout",
            ),
            *("client-certificate", "tls-*"),
        )
    ),
    *(Rule(cause, ("control.slow", "control.throttled", *_ENROL_REQUESTS)) for cause in _NOT_AS_PROMISED),
    # Every request to the control plane stayed without an answer, including that of this node's clock check.
    *(Rule(cause, ("run.no-answer",), "all") for cause in (*_CONTROL_PATH, *_OTHER_SERVER, "control.bad-answer")),
    # The same where no request was made, because its way is wrong; the clock of a peer did not answer either.
    *(
        Rule(cause, ("run.no-answer",), "all")
        for cause in (
            "overlay.route-leak",
            "overlay.allowed-ips",
            "overlay.subnet-conflict",
            "control.url-*",
            *_OUTSIDE,
        )
    ),
    # A proxy that brings no answer keeps the control plane's clock away too.
    Rule("host.proxy-env", ("run.no-answer",), "all", of_the_clock),
    # A host that does not get this node's question, or whose answer dies, does not say what time it is there.
    *(
        Rule(cause, ("run.no-answer",), "all", of_the_clock)
        for cause in ("reach.no-forward", "reach.no-reverse", "reach.unreachable", "udp.blocked", "host.firewall-drop")
    ),
    # Beyond the way: what was answered, about tokens, nodes and posture, is as it was answered.
    *(Rule(cause, _ENROL_STEPS) for cause in ("enroll.scope-mismatch", "enroll.bootstrap-*", "enroll.unauthorized")),
    *(
        Rule(cause, ("run.no-answer",), condition=of_a_join)
        for cause in ("enroll.unauthorized", "enroll.forbidden", "enroll.scope-mismatch")
    ),
    Rule("enroll.join-failed", ("run.no-answer",), condition=of_what_posture_asks),
    *(
        Rule(f"enroll.{step}-failed", ("run.no-answer",), condition=of_the_routes)
        for step in ("heartbeat", "lease", "leave")
    ),
    Rule("nodes.quarantined", ("enroll.lease-failed",)),
    Rule("posture.open", ("posture.route-open", "posture.role-too-strong")),
)

BENEATH: Mapping[str, tuple[str, ...]] = {
    "host.rp-filter": ("overlay.route-leak", "overlay.subnet-conflict"),
    "overlay.mtu-too-big": ("overlay.endpoint-loop", "overlay.exit-node-lan"),
    "reach.loss": ("udp.loss",),
    "overlay.relayed": ("reach.unreachable", "reach.no-forward", "reach.no-reverse"),
    "reach.icmp-filtered": ("udp.blocked",),
    "enroll.lease-failed": ("nodes.quarantined",),
}
"""Causes that are deeper than their layer: a wrong route on either side makes this node's strict filter drop; loss in
a known direction also loses echoes; what is relayed and does not arrive is lost; a filter that takes UDP may take them
too; and the reason for a missing lease is in its own record."""

STANDS_AT: Mapping[str, tuple[str, ...]] = {
    "host.captive-portal": ("network",),
    "host.network-dead": ("network",),
}
"""Causes that are themselves what kills at these stations: they explain even what is proven to die there."""


def silent(code: str) -> bool:
    """Whether a finding says that nothing at all came back from the control plane."""
    return code in (*_SILENT, "run.no-answer")


_WITH_A_WAY = ("overlay.*", "reach.*", "mtu.*", "udp.*", "host.firewall-drop", "host.rp-filter", *_ENDED)
_WITHOUT = ("overlay.config-drift",)


def dies_with(code: str) -> bool:
    """Whether a finding about a target goes back to a proven death on the way of its packets.

    What is about this node's posture, names, tokens or lists has another cause.
    """
    if any(fnmatchcase(code, pattern) for pattern in _WITHOUT):
        return False
    return any(
        fnmatchcase(code, pattern) for pattern in (*_WITH_A_WAY, "run.needs-*", *_CONTROL_PATH, *_ENROL_REQUESTS)
    )
