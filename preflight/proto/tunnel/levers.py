"""The levers of products whose members must be admitted, by what is wrong with this node's membership; pure."""

import re
from pathlib import PurePosixPath

from preflight.model.fix import ServiceRestart, TailscaleTakes, ZeroTierTakes
from preflight.model.overlay import PRIVILEGE, OverlayState
from preflight.model.product_fixes import TailscaleOption, ZeroTierOption
from preflight.model.remedy import Remedies, by_hand, heal, look
from preflight.proto.tunnel import openvpn_levers
from preflight.proto.tunnel.reason_levers import of_login

_SET_SINCE = (1, 34)
"""Tailscale's first version with `tailscale set`, which changes one preference and leaves the others."""
_TAKEN = re.compile(r"another program has UDP port (\d+)")
_OLDER = "this version has no `tailscale set`: add the further options that it asks for"


def tailscale_takes(state: OverlayState, option: TailscaleOption) -> Remedies:
    """Let this node take routes or names of its tailnet; an older version wants all other options said again."""
    if _sets(state):
        return heal(lambda: TailscaleTakes(option=option))
    return by_hand(f"{_up(state, option)}   # {_OLDER}", root=True)


def another_exit(state: OverlayState) -> Remedies:
    """No exit node any more, or another one."""
    other = "or name a node that offers to be one"
    if _sets(state):
        return by_hand(f"tailscale set --exit-node=   # {other}", root=True)
    return by_hand(f"{_up(state, 'exit-node=')}   # {other}; {_OLDER}", root=True)


def _sets(state: OverlayState) -> bool:
    """Whether its version has `tailscale set`, as all have whose version is not known."""
    version = re.match(r"(\d+)\.(\d+)", state.version or "")
    return version is None or (int(version[1]), int(version[2])) >= _SET_SINCE


def _up(state: OverlayState, option: str) -> str:
    return f"tailscale up --{option}{_server(state)}{_kept(state, option.partition('=')[0])}"


def admit(state: OverlayState) -> Remedies:
    """Who lets this node into an overlay that has not."""
    by_product = {"tailscale": tailscale, "zerotier": zerotier, "nebula": nebula}.get(state.product)
    return by_product(state, "overlay.not-authorized") if by_product is not None else ()


def approval(state: OverlayState, node: str = "this machine") -> Remedies:
    """Where the networks that a member announces are approved: its own control server has a list, which is replaced."""
    if state.control_server is None:
        line = f"Approve them in the admin console of tailscale.com: Machines > {node} > Edit route settings."
        return by_hand(line, where="product console")
    routes = ",".join(map(str, state.announces)) or "ALL,ITS,ROUTES"
    line = f"headscale nodes approve-routes --identifier ID --routes {routes}   # ID: see headscale nodes list-routes"
    return by_hand(line, where="product console")


def zerotier_takes(network: str, option: ZeroTierOption) -> Remedies:
    """Let this node take addresses or names of a network."""
    return heal(lambda: ZeroTierTakes(network=network, option=option))


def _server(state: OverlayState) -> str:
    return f" --login-server={state.control_server}" if state.control_server else ""


def _kept(state: OverlayState, but: str = "") -> str:
    """The other options of this node: `tailscale up` with one of them refuses to drop the rest. but: one by name."""
    return "".join(f" {each}" for each in state.login_options if each.partition("=")[0] != f"--{but}")


def tailscale(state: OverlayState, slug: str) -> Remedies:
    """Log in where the tailnet really is: without its own server's URL, a login goes to Tailscale's."""
    server = f"{_server(state)}{_kept(state)}"
    reminder = "" if state.control_server else "   # if the control server is not Tailscale's: add --login-server=URL"
    if slug in ("overlay.logged-out", "overlay.daemon-down") and (reason := of_login(state, server)) is not None:
        return reason
    known = {
        "overlay.daemon-down": heal(lambda: ServiceRestart(service="tailscaled")),
        "overlay.down": by_hand("tailscale up", root=True),
        "overlay.no-address": heal(lambda: ServiceRestart(service="tailscaled")),
        "overlay.logged-out": by_hand(f"tailscale up{server}{reminder}", root=True),
        "overlay.key-expired": by_hand(f"tailscale up --force-reauth{server}", root=True),
        "overlay.not-authorized": by_hand(
            "Approve this machine in the admin console of the tailnet, or at its control server.",
            where="product console",
        ),
    }
    return known.get(slug, ())


def zerotier(state: OverlayState, slug: str) -> Remedies:
    """What the node's service can change, else what the network's controller must."""
    network = state.network or "NETWORK"
    restart = heal(lambda: ServiceRestart(service="zerotier-one"))
    if any("CLIENT_TOO_OLD" in each for each in state.health):
        return by_hand("Update ZeroTier on this node, and restart zerotier-one.", root=True)
    known = {
        "overlay.daemon-down": restart,
        "overlay.down": _device(restart),
        "overlay.no-address": _addresses(state),
        "overlay.not-joined": by_hand(
            f"zerotier-cli join NETWORK   # its number of 16 digits is in the controller's console{_wrong(state)}",
            root=True,
        ),
        "overlay.logged-out": by_hand(
            "Log in to the network's single sign-on, at the address that `zerotier-cli listnetworks` prints here.",
            where="product console",
        ),
        "overlay.not-authorized": by_hand(
            f"Authorise this node in the network {network} on its controller.", where="product console"
        ),
    }
    return known.get(slug, ())


def _wrong(state: OverlayState) -> str:
    """The number by which this node has joined a network that its controller does not know."""
    return f", and is not {state.network}" if state.network else ""


def _device(restart: Remedies) -> Remedies:
    return (*look("ls -l /dev/net/tun   # must exist, also in a container", root=True), *restart)


def _addresses(state: OverlayState) -> Remedies:
    """An address that is withheld here needs this node's consent; one that does not exist, the controller's."""
    network = state.network or "NETWORK"
    if state.withheld:
        return zerotier_takes(state.network or "", state.withheld_by)
    if state.lost:
        settings = f"/var/lib/zerotier-one/networks.d/{network}.local.conf"
        return (
            *heal(lambda: ServiceRestart(service="zerotier-one")),
            *look(f"grep allowManaged {settings}   # a list there takes nothing else", root=True),
        )
    if state.complaints:
        controller = look(
            f"Does the controller of the network {network} run, and does it reach its roots?", where="product console"
        )
        return (*controller, *look("zerotier-cli listnetworks   # the status must become OK", root=True))
    return by_hand(
        f"Give this node an address in the network {network} on its controller.",
        where="product console",
    )


def nebula(state: OverlayState, slug: str) -> Remedies:
    """Its certificate and its configuration are files; the authority that signs is somewhere else."""
    said = "; ".join(state.health)
    if slug == "overlay.daemon-down" and "`nebula -test`" in said:
        return by_hand("Correct its configuration by that error, and start nebula.", root=True)
    if slug == "overlay.daemon-down" and (port := _TAKEN.search(said)) is not None:
        return look(
            f"ss -ulpn 'sport = :{port[1]}'   # that one has to end, or one of them takes another port", root=True
        )
    if slug == "overlay.key-expired" and "authority" in said:
        new = "Make a new authority (`nebula-cert ca`), put it into each pki.ca, and sign all certificates by it."
        return by_hand(new, where="product console")
    if slug == "overlay.key-expired" and "clock" in said:
        return look("date -u   # the right time? If it is, sign another certificate with `nebula-cert sign`")
    known = {
        "overlay.daemon-down": _nebula_again(state),
        "overlay.no-address": _nebula_again(state),
        "overlay.down": by_hand("Take tun.disabled out of its configuration, or test from a member with an interface."),
        "overlay.key-expired": by_hand("Sign a new certificate with `nebula-cert sign` and restart nebula.", root=True),
        "overlay.not-authorized": by_hand(
            "Have this node's certificate signed by an authority of its pki.ca, which must be that of its peers."
        ),
    }
    return known.get(slug, ())


def nebula_cipher(said: str) -> Remedies:
    """One cipher for the whole network: that of all others."""
    other = said.rpartition("there it is ")[2]
    return by_hand(f"Set `cipher: {other}` in nebula's configuration here, and restart nebula.", root=True)


def _nebula_again(state: OverlayState) -> Remedies:
    """Its unit is named by the network where the configuration is."""
    network = PurePosixPath(state.policy.file).stem if state.policy is not None else "config"
    if network == "config":
        return heal(lambda: ServiceRestart(service="nebula"))
    return by_hand(f"systemctl restart nebula@{network}", root=True)


UNREAD = {
    "tailscale": "tailscale status   # logged out, or stopped? tailscale up; else restart tailscaled",
    "zerotier": "zerotier-cli listnetworks   # OK, with an address? Else its controller has to authorise this node, or "
    "allowManaged is off",
}
"""What shows why a product's interface is as it is, to a user who may not ask its daemon."""


def unread(state: OverlayState) -> Remedies:
    """What to look at where this user may not know why; nothing of products that need no such question."""
    if state.unreadable != PRIVILEGE or state.product not in UNREAD:
        return ()
    return look(UNREAD[state.product], root=True)


def openvpn(state: OverlayState, slug: str) -> Remedies:
    """By the words of its log; a device without a process needs its program."""
    said, unit = "; ".join(state.health), state.network or "openvpn"
    if slug == "overlay.daemon-down":
        return openvpn_levers.of_stopped(said, unit)
    return openvpn_levers.of_reason(said, unit)
