"""Every skip of a check has a valid reason: what applies and cannot be decided is undecided or a failure."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import preflight_checks

CHECKS = Path(next(iter(preflight_checks.__path__)))

_NO_URL = "no URL that a client could use: control.url fails for that, and blocks this"
_PROXY = "clients here never connect to it: a proxy does, and control.health judges that way"

_NO_LOAD = "load goes to few peers, never to the control host or over a metered line: the reason is in the message"
JUSTIFIED: dict[tuple[str, str], tuple[str, ...]] = {
    # Of another product, or of none: the question has no subject.
    ("overlay_config", "judge"): (
        "no overlay, or a product without wg-quick files",
        "no file to compare with",
        "SaveConfig: the file follows what is live",
    ),
    ("overlay_mtu", "overlay_mtu"): ("without an overlay there is no tunnel MTU; overlay.interface fails for that",),
    ("overlay_mtu", "_unknown"): ("the interface is not known: overlay.interface fails for that, or is undecided",),
    ("overlay_route", "judge"): ("no overlay interface",),
    ("overlay_session", "judge_unwatched"): ("the product tells nothing of sessions: by contract state checks skip",),
    ("overlay_session", "_judge_reported"): (
        "the product tells of no path in use: only measuring tells, and that runs",
    ),
    # Another check has the answer in full.
    ("overlay_route", "of_the_flow"): (
        "only root can read which packets the firewall marks; reach.udp shows whether they get to the peer",
    ),
    ("way_packet", "judge"): ("nothing is proven to die: what fails is said by the check that noticed the trouble",),
    ("overlay_policy", "_nothing"): ("the peer's silence has another reason, or nobody can see a session that lives",),
    ("overlay_rivals", "_nothing"): ("no other overlay has the address, or nothing answers there: the peer is silent",),
    ("overlay_rules", "_nothing"): ("one overlay has nobody whose packets its rules could take",),
    ("overlay_key", "_at_one_place"): ("a second machine would have taken packets of this peer, and none was lost",),
    ("overlay_key", "_nothing"): ("the trouble has another reason: the checks that noticed it say which",),
    ("host_portal", "host_portal"): (
        "what answers shows that nothing stands between",
        "nothing answered in the place of an address that nobody has",
    ),
    ("host_network", "host_network"): (
        "somebody answers, so the network is not dead",
        "raw packets take a privilege: each peer's silence is said by its own check",
        "without raw sockets each peer's silence is said by its own check",
    ),
    ("mtu_loss", "_not_tried"): ("the search lost no packet that would show a loss by size",),
    ("udp_ports", "judge"): ("the trouble is not of the kind that these ports show: reach.udp says what it is",),
    ("reach_rate", "judge"): ("loss at every rate is not a limit; udp.quality fails for it",),
    ("reach_rate", "_not_tried"): ("no loss that a limit would make, or other peers were tried first",),
    ("way_packet", "_left_out"): ("one run follows some peers; the trouble of each is said by its own check",),
    ("way_packet", "unfollowed"): ("without a tunnel there is nothing to follow, and another check says that",),
    ("host_clock", "_alone"): ("without a control plane and a responder that answers there is no other clock",),
    ("mtu_echo", "judge"): ("the responder tells each direction by itself, in mtu.path",),
    # Nobody asked for it, and asking would write or go to strangers.
    ("enroll_cycle", "_not_asked_for"): ("enrolment writes, so by contract it takes --enroll",),
    ("enroll_cycle", "_without_bootstrap"): ("no bootstrap token was given: the node joins with the token it has",),
    ("enroll_cycle", "_left_out"): ("the row was there before and is left alone; one in maintenance gets no lease",),
    ("enroll_cycle", "_stopped"): ("blocked_by names the failed step",),
    ("posture_scope", "posture_scope"): (
        "it writes, so it takes --intrusive or an enrolment",
        "a JWT that is accepted once joins and cannot leave again",
        "a node without a bearer cannot join where one is demanded",
    ),
    ("run_left_behind", "run_left_behind"): (_NO_URL,),
    ("perf_latency_under_load", "perf_latency_under_load"): (_NO_LOAD,),
    ("perf_throughput", "perf_throughput"): (_NO_LOAD,),
    ("run_left_behind", "judge"): ("no earlier run of this user left anything: the journal is empty",),
    ("udp_stun", "judge"): ("no STUN server is named, and strangers are not asked",),
    # Nothing of the kind is there.
    ("posture_secrets", "judge_files"): ("the settings name no secret file that exists",),
    ("posture_secrets", "judge_git"): ("no git repository is near",),
    ("posture_secrets", "_closed"): ("a repository that nobody named lies around and cannot be read",),
    ("posture_roles", "judge"): ("no token of any role is on this node",),
    ("posture_roles", "_judge_rest"): ("all tokens are JWTs, each of which is good for one request",),
    ("nodes_identity", "nodes_identity"): (
        "a JWT that is accepted once is not used up to read a list",
        "nodes.state reports a list that cannot be read",
    ),
    ("nodes_state", "nodes_state"): ("a JWT that is accepted once is not used up to read a list",),
    ("enroll_bearer", "_without"): ("no bearer is on this node: whether one is needed, the control plane says",),
    ("enroll_bootstrap", "judge"): ("this run was given no one-time token",),
    ("nodes_state", "judge_refusal"): ("the node enrols in this run and has no token before that",),
    # The way that it is about is not the one that is used.
    ("control_dns", "control_dns"): (_NO_URL, "a literal address is not resolved", "the proxy resolves the name"),
    ("control_connect", "control_connect"): (_NO_URL, _PROXY),
    ("control_tls", "control_tls"): (_NO_URL, _PROXY),
    ("mtu_tcp", "mtu_tcp"): (_NO_URL, _PROXY),
    ("posture_tls", "posture_tls"): ("no URL, or one without TLS: control.tls judges plain HTTP", _PROXY),
    ("posture_exposed", "posture_exposed"): (_PROXY,),
}
"""For each module and function: why nothing that applies is left untold, once for each skip in it."""

MAKERS = ("skipped", "_not_applicable")
"""What gives a skip: the vocabulary's word, and the name under which some modules wrap it."""


def skips() -> Iterator[tuple[str, str]]:
    """Module and function of each skip that a check makes."""
    for path in sorted(CHECKS.glob("*.py")):
        for part in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(part, ast.ImportFrom) and getattr(part, "name", "") not in MAKERS:
                place = path.stem, getattr(part, "name", "")
                yield from (place for node in ast.walk(part) if _is_skip(node))


def _is_skip(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == "SKIP"
    return isinstance(node, ast.Name) and node.id in MAKERS


def test_every_skip_is_justified() -> None:
    """Anyone who adds a skip says here why it truly does not apply; what cannot be decided is inconclusive instead."""
    assert Counter(skips()) == {place: len(reasons) for place, reasons in JUSTIFIED.items()}
