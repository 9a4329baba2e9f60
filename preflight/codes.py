"""The finding codes of the contract: the one table of slugs, severities and titles.

A check lists the codes that it may report; `runbook/` has one page for each. Codes are never renamed.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ConfigDict


REVALIDATED: "ConfigDict" = {"revalidate_instances": "always", "allow_inf_nan": False}
"""For dataclasses that checks of other packages fill: pydantic validates each instance again."""


class Severity(StrEnum):
    """The worst status that a code can mean."""

    FAIL = "fail"
    WARN = "warn"
    WARN_OR_FAIL = "warn/fail"  # warn below a threshold of the settings, fail above it
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Code:
    """A stable slug `area.condition` with its title and severity."""

    __pydantic_config__ = REVALIDATED

    slug: str
    title: str
    severity: Severity = Severity.FAIL

    @property
    def area(self) -> str:
        """The part before the dot."""
        return self.slug.partition(".")[0]

    def __str__(self) -> str:
        return self.slug


HOST_NO_RAW_SOCKET = Code("host.no-raw-socket", "No raw sockets: sending ICMP needs a privilege", Severity.WARN)
HOST_CLOCK_UNSYNCED = Code("host.clock-unsynced", "This node's clock is not synchronised", Severity.WARN)
HOST_RP_FILTER = Code("host.rp-filter", "The strict reverse-path filter drops overlay packets")
HOST_FIREWALL_DROP = Code("host.firewall-drop", "This node's own firewall drops what the overlay delivers")
HOST_PROXY_ENV = Code("host.proxy-env", "Clients reach the control plane through a proxy", Severity.WARN_OR_FAIL)
HOST_CAPTIVE_PORTAL = Code("host.captive-portal", "A captive portal answers instead of the network")
HOST_NETWORK_DEAD = Code("host.network-dead", "Nobody behind this node's own gateway answers")
HOST_UPLINK_DOWN = Code("host.uplink-down", "The link by which this node reaches the world is down")
HOST_GATEWAY_DEAD = Code("host.gateway-dead", "The gateway that the tunnel's packets go to does not answer")

OVERLAY_ABSENT = Code("overlay.absent", "No overlay on this node")
OVERLAY_DOWN = Code("overlay.down", "The overlay interface is down")
OVERLAY_DAEMON_DOWN = Code("overlay.daemon-down", "The overlay's daemon is not running")
OVERLAY_NO_ADDRESS = Code("overlay.no-address", "The overlay interface has no address")
OVERLAY_LOGGED_OUT = Code("overlay.logged-out", "This node is logged out of the overlay")
OVERLAY_KEY_EXPIRED = Code("overlay.key-expired", "The node's overlay key or certificate has expired")
OVERLAY_NOT_AUTHORIZED = Code(
    "overlay.not-authorized", "The overlay has not authorised this node", Severity.WARN_OR_FAIL
)
OVERLAY_NOT_JOINED = Code("overlay.not-joined", "The overlay's daemon runs, and this node is in no network of it")
OVERLAY_OFFLINE = Code("overlay.offline", "The overlay's own servers do not see this node", Severity.WARN_OR_FAIL)
OVERLAY_RELAY_UNREACHABLE = Code(
    "overlay.relay-unreachable", "The overlay's relay cannot be reached", Severity.WARN_OR_FAIL
)
OVERLAY_DNS_OVERWRITTEN = Code(
    "overlay.dns-overwritten", "Another program has replaced the overlay's name resolution", Severity.WARN_OR_FAIL
)
OVERLAY_NAMES_NOT_ACCEPTED = Code("overlay.names-not-accepted", "This node does not take the overlay's name resolution")
OVERLAY_ROUTES_NOT_ACCEPTED = Code(
    "overlay.routes-not-accepted", "Peers announce networks that this node does not take", Severity.WARN
)
OVERLAY_ROUTES_NOT_APPROVED = Code(
    "overlay.routes-not-approved", "The overlay has not approved the networks that this node announces", Severity.WARN
)
OVERLAY_EXIT_NODE_GONE = Code("overlay.exit-node-gone", "The chosen exit node does not offer to be one", Severity.WARN)
OVERLAY_EXIT_NODE_LAN = Code("overlay.exit-node-lan", "The exit node takes what is for this node's own network")
OVERLAY_UNHEALTHY = Code("overlay.unhealthy", "The overlay's daemon has a complaint", Severity.WARN_OR_FAIL)
OVERLAY_POLICY_DROP = Code(
    "overlay.policy-drop", "The session with the peer lives, and what goes through it is dropped"
)
OVERLAY_PEER_LOST = Code("overlay.peer-lost", "The overlay itself does not reach the peer")
OVERLAY_NO_HANDSHAKE = Code("overlay.no-handshake", "The tunnel to the peer never came up")
OVERLAY_HANDSHAKE_STALE = Code("overlay.handshake-stale", "The tunnel's last handshake is too old")
OVERLAY_NO_KEEPALIVE = Code("overlay.no-keepalive", "No keepalive keeps the NAT mapping open", Severity.WARN)
OVERLAY_RELAYED = Code("overlay.relayed", "Traffic to the peer is relayed", Severity.WARN)
OVERLAY_ALLOWED_IPS = Code("overlay.allowed-ips", "The peer's address is not in the tunnel's allowed-ips")
OVERLAY_ENDPOINT_LOOP = Code("overlay.endpoint-loop", "The tunnel's endpoint is routed into the tunnel itself")
OVERLAY_ENDPOINT_HAIRPIN = Code(
    "overlay.endpoint-hairpin", "The tunnel's endpoint is the public address of this node's own router"
)
OVERLAY_ENDPOINT_ANSWERS_ELSEWHERE = Code(
    "overlay.endpoint-answers-elsewhere", "The peer's tunnel answers from another address than its endpoint"
)
OVERLAY_PRESHARED_KEY = Code("overlay.preshared-key", "The two ends do not have the same preshared key")
OVERLAY_PORT_CONFLICT = Code("overlay.port-conflict", "Another socket has the tunnel's UDP port")
OVERLAY_WRONG_SOURCE = Code("overlay.wrong-source", "Packets enter the tunnel with an address that it does not take")
OVERLAY_MTU_TOO_BIG = Code("overlay.mtu-too-big", "The tunnel's MTU does not fit the underlay")
OVERLAY_MTU_TOO_SMALL = Code("overlay.mtu-too-small", "The tunnel's MTU is below what the overlay needs")
OVERLAY_ROUTE_LEAK = Code("overlay.route-leak", "Traffic for the peer leaves outside the overlay")
OVERLAY_SUBNET_CONFLICT = Code("overlay.subnet-conflict", "A local network uses the overlay's prefix")
OVERLAY_CONFIG_DRIFT = Code(
    "overlay.config-drift", "The running tunnel differs from its configuration file", Severity.WARN
)
OVERLAY_TRANSLATED = Code("overlay.translated", "Something inside the overlay translates addresses", Severity.WARN)
OVERLAY_DUPLICATE_ADDRESS = Code("overlay.duplicate-address", "Two nodes use one overlay address")
OVERLAY_DUPLICATE_KEY = Code("overlay.duplicate-key", "Two nodes use one overlay key")

FLEET_UNREACHABLE = Code("fleet.unreachable", "The node cannot be reached by SSH", Severity.INCONCLUSIVE)
FLEET_AUTH = Code("fleet.auth", "The node does not let the fleet's user in", Severity.INCONCLUSIVE)
FLEET_HOST_KEY = Code("fleet.host-key", "The node's SSH host key is not the known one", Severity.INCONCLUSIVE)
FLEET_PYTHON = Code("fleet.python", "The node has no Python that fits", Severity.INCONCLUSIVE)
FLEET_INSTALL = Code("fleet.install", "The program could not be put on the node", Severity.INCONCLUSIVE)
FLEET_RESPONDER = Code("fleet.responder", "The responder does not start on the node", Severity.INCONCLUSIVE)
FLEET_TIMEOUT = Code("fleet.timeout", "The node gave no report in time", Severity.INCONCLUSIVE)

REACH_UNREACHABLE = Code("reach.unreachable", "The peer does not answer")
REACH_NO_FORWARD = Code("reach.no-forward", "Packets from this node do not reach the peer")
REACH_NO_REVERSE = Code("reach.no-reverse", "Packets from the peer do not reach this node")
REACH_LOSS = Code("reach.loss", "Echo packets are lost", Severity.WARN_OR_FAIL)
REACH_POLICED = Code("reach.policed", "Packets are lost above a rate", Severity.WARN_OR_FAIL)
REACH_ICMP_FILTERED = Code("reach.icmp-filtered", "ICMP echo is filtered, other traffic passes", Severity.WARN)
REACH_ASYMMETRIC = Code("reach.asymmetric", "The two directions take different paths", Severity.WARN)

MTU_BLACK_HOLE = Code("mtu.black-hole", "Large packets vanish without an ICMP answer")
MTU_REDUCED = Code("mtu.reduced", "The path carries less than the interface promises", Severity.WARN)
MTU_BELOW_MINIMUM = Code("mtu.below-minimum", "The path carries less than the protocol's minimum")

UDP_BLOCKED = Code("udp.blocked", "UDP does not pass", Severity.WARN_OR_FAIL)
UDP_LOSS = Code("udp.loss", "UDP packets are lost", Severity.WARN_OR_FAIL)
UDP_JITTER = Code("udp.jitter", "The delay varies too much", Severity.WARN)
UDP_REORDERING = Code("udp.reordering", "Packets arrive out of order", Severity.WARN)
UDP_DUPLICATION = Code("udp.duplication", "Packets arrive more than once", Severity.WARN)
UDP_NAT_TIMEOUT = Code("udp.nat-timeout", "The NAT drops the mapping while the tunnel is idle", Severity.WARN)

PERF_BUFFERBLOAT = Code("perf.bufferbloat", "One transfer makes all other traffic wait", Severity.WARN)
PERF_RESPONDER_LOAD_OFF = Code("perf.responder-load-off", "The peer's responder takes no load", Severity.INCONCLUSIVE)
PERF_LOAD_REFUSED = Code("perf.load-refused", "The peer's responder takes no more load now", Severity.INCONCLUSIVE)

CONTROL_URL_MISSING = Code("control.url-missing", "No control URL is set")
CONTROL_URL_INVALID = Code("control.url-invalid", "The control URL is not a URL")
CONTROL_URL_BIND_ALL = Code("control.url-bind-all", "The control URL names a bind-all address")
CONTROL_URL_CONFLICT = Code("control.url-conflict", "A wrong control URL hides the right one")
CONTROL_URL_OFF_OVERLAY = Code("control.url-off-overlay", "The control URL's address is not on the overlay")
CONTROL_DNS_NXDOMAIN = Code("control.dns-nxdomain", "The control host's name does not exist")
CONTROL_DNS_TIMEOUT = Code("control.dns-timeout", "The resolver does not answer")
CONTROL_DNS_REFUSED = Code("control.dns-refused", "The resolver refuses this node's questions")
CONTROL_DNS_TRUNCATED = Code("control.dns-truncated", "The resolver's answer is too long for UDP, and TCP is blocked")
CONTROL_DNS_STRIPPED = Code("control.dns-stripped", "The resolver takes private addresses out of its answers")
CONTROL_DNS_SEARCH = Code("control.dns-search", "The search list leads to another host")
CONTROL_DNS_SPLIT = Code("control.dns-split", "Resolvers disagree about the control host", Severity.WARN_OR_FAIL)
CONTROL_ADDRESS_FAMILY = Code(
    "control.address-family", "One address family of the control host does not work", Severity.WARN_OR_FAIL
)
CONTROL_DEAD_ADDRESS = Code(
    "control.dead-address", "One address of the control host accepts no connections", Severity.WARN
)
CONTROL_REFUSED = Code("control.refused", "The control host refuses the connection")
CONTROL_CONNECTION_RESET = Code("control.connection-reset", "The control host resets connections")
CONTROL_UNREACHABLE = Code("control.unreachable", "The control host cannot be reached")
CONTROL_TIMEOUT = Code("control.timeout", "The control plane does not answer in time")
CONTROL_TLS_EXPIRED = Code("control.tls-expired", "The control plane's certificate has expired")
CONTROL_TLS_NOT_YET_VALID = Code("control.tls-not-yet-valid", "The control plane's certificate is not valid yet")
CONTROL_TLS_UNTRUSTED = Code("control.tls-untrusted", "The control plane's certificate is not trusted")
CONTROL_TLS_NAME = Code("control.tls-name", "The control plane's certificate is for another name")
CONTROL_TLS_EXPIRING = Code("control.tls-expiring", "The control plane's certificate expires soon", Severity.WARN)
CONTROL_CLIENT_CERTIFICATE = Code("control.client-certificate", "The server demands a certificate of its clients")
CONTROL_TLS_FAILED = Code("control.tls-failed", "The TLS handshake fails")
CONTROL_PLAIN_HTTP = Code("control.plain-http", "Plain HTTP outside loopback and overlay")
CONTROL_UNHEALTHY = Code("control.unhealthy", "The control plane says that it is not healthy")
CONTROL_NOT_POPULI = Code("control.not-populi", "The server that answers is not a Populi control plane")
CONTROL_BAD_ANSWER = Code("control.bad-answer", "The control plane's answer breaks its contract")
CONTROL_REDIRECTED = Code("control.redirected", "The control URL redirects elsewhere")
CONTROL_THROTTLED = Code("control.throttled", "Requests of this node are rate-limited", Severity.WARN_OR_FAIL)
CONTROL_SLOW = Code("control.slow", "The control plane is slow from here", Severity.WARN)
CONTROL_CLOCK_SKEW = Code(
    "control.clock-skew", "This node's clock and the control plane's differ", Severity.WARN_OR_FAIL
)

ENROLL_BOOTSTRAP_DISABLED = Code("enroll.bootstrap-disabled", "The control plane has no bootstrap token enabled")
ENROLL_BOOTSTRAP_MALFORMED = Code("enroll.bootstrap-malformed", "The one-time token's text cannot be right")
ENROLL_BOOTSTRAP_INVALID = Code("enroll.bootstrap-invalid", "The bootstrap token is wrong")
ENROLL_BOOTSTRAP_SPENT = Code("enroll.bootstrap-spent", "The bootstrap token is spent or expired")
ENROLL_BEARER_MALFORMED = Code("enroll.bearer-malformed", "The bearer's text cannot be right")
ENROLL_UNAUTHORIZED = Code("enroll.unauthorized", "The control plane does not know the token")
ENROLL_FORBIDDEN = Code("enroll.forbidden", "The token's role may not do this")
ENROLL_SETTINGS_DISAGREE = Code(
    "enroll.settings-disagree", "This node's own places disagree about its cluster", Severity.WARN
)
ENROLL_SWITCHED_OFF = Code("enroll.switched-off", "A variable keeps workers out of the cluster", Severity.WARN)
ENROLL_SCOPE_MISMATCH = Code("enroll.scope-mismatch", "The scope id belongs to another cluster")
ENROLL_JOIN_FAILED = Code("enroll.join-failed", "Join failed")
ENROLL_HEARTBEAT_FAILED = Code("enroll.heartbeat-failed", "Heartbeat failed")
ENROLL_NOT_LISTED = Code("enroll.not-listed", "The node joined but is not listed")
ENROLL_LEASE_FAILED = Code("enroll.lease-failed", "Cannot obtain or keep a lease")
ENROLL_LEAVE_FAILED = Code("enroll.leave-failed", "Leave failed; the node is still listed")

POSTURE_OPEN = Code("posture.open", "The control plane is open to everyone")
POSTURE_ROUTE_OPEN = Code("posture.route-open", "A route answers without a bearer")
POSTURE_SHARED_TOKEN = Code("posture.shared-token", "One token serves several roles", Severity.WARN)
POSTURE_ROLE_TOO_STRONG = Code("posture.role-too-strong", "A token has more rights than its role")
POSTURE_SCOPE_OPEN = Code("posture.scope-open", "The control plane accepts another scope")
POSTURE_SCOPE_GUESSABLE = Code(
    "posture.scope-guessable", "The scope id is one that strangers would choose too", Severity.WARN
)
POSTURE_EXPOSED = Code("posture.exposed", "The control plane listens on a public address")
POSTURE_TLS_OLD = Code("posture.tls-old", "The control plane accepts an old version of TLS", Severity.WARN)
POSTURE_SECRET_IN_GIT = Code("posture.secret-in-git", "A secret is committed to git")
POSTURE_SECRET_FILE_MODE = Code("posture.secret-file-mode", "A secret file is readable by others", Severity.WARN)

NODES_STALE = Code("nodes.stale", "A node has not been seen recently", Severity.WARN)
NODES_QUARANTINED = Code("nodes.quarantined", "A node is quarantined")
NODES_DRAINING = Code("nodes.draining", "A node is draining", Severity.WARN)
NODES_DUPLICATE_ADDRESS = Code("nodes.duplicate-address", "Two nodes announce one address", Severity.WARN)
NODES_ID_TAKEN = Code("nodes.id-taken", "Another machine has this node's id", Severity.WARN)
NODES_SCOPE_MIXED = Code("nodes.scope-mixed", "Nodes of one cluster carry different scope ids", Severity.WARN)
NODES_VERSION_SKEW = Code("nodes.version-skew", "Nodes run different versions", Severity.WARN)

RUN_TIMEOUT = Code("run.timeout", "The check ran into its time limit", Severity.INCONCLUSIVE)
RUN_NO_ANSWER = Code("run.no-answer", "No answer came that would settle the question", Severity.INCONCLUSIVE)
RUN_CHECK_ERROR = Code("run.check-error", "The check itself broke", Severity.ERROR)
RUN_NEEDS_PRIVILEGE = Code("run.needs-privilege", "A privilege is missing", Severity.INCONCLUSIVE)
RUN_NEEDS_RESPONDER = Code("run.needs-responder", "No responder at the peer", Severity.INCONCLUSIVE)
RUN_OVERLOADED = Code("run.overloaded", "An end host dropped packets", Severity.INCONCLUSIVE)
RUN_NEEDS_TOOL = Code("run.needs-tool", "A program is missing", Severity.INCONCLUSIVE)
RUN_NEEDS_PLATFORM = Code("run.needs-platform", "This needs Linux", Severity.INCONCLUSIVE)
RUN_INTERRUPTED = Code("run.interrupted", "The run was interrupted", Severity.INCONCLUSIVE)
RUN_PLUGIN_BROKEN = Code("run.plugin-broken", "A plugin could not be loaded", Severity.WARN)
RUN_VIA_SSH = Code("run.via-ssh", "ssh could not start a responder for the run", Severity.WARN)
RUN_LEFT_BEHIND = Code("run.left-behind", "An earlier run left a node on the control plane", Severity.WARN)
RUN_NOT_ENROLLING = Code("run.not-enrolling", "Enrolment writes to the cluster and was not requested", Severity.SKIP)
RUN_NOT_APPLICABLE = Code("run.not-applicable", "This does not apply here", Severity.SKIP)
RUN_BLOCKED = Code("run.blocked", "A prerequisite failed", Severity.SKIP)
RUN_NEEDS_PEERS = Code("run.needs-peers", "No peer is known", Severity.INCONCLUSIVE)
RUN_NEEDS_CREDENTIALS = Code("run.needs-credentials", "A credential is missing", Severity.INCONCLUSIVE)

ALL: dict[str, Code] = {value.slug: value for value in list(vars().values()) if isinstance(value, Code)}
