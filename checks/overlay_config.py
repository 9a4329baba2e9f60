"""Does the running tunnel agree with its configuration file, from which a restart would rebuild it?"""

from collections.abc import AsyncGenerator, Iterable
from dataclasses import replace

from preflight.api import (
    NODE,
    Context,
    Direction,
    Evidence,
    Remedies,
    Result,
    by_hand,
    check,
    codes,
    inconclusive,
    look,
    passed,
    skipped,
    warned,
)
from preflight.model.facts import ConfigDriftFacts, DeathFacts
from preflight.model.overlay import PRIVILEGE, ConfiguredPeer, ConfiguredTunnel, IPNetwork, OverlayPeer, OverlayState
from preflight.proto.pmtu.minimum import IPV6_MINIMUM

SHOWN = 4


@check(
    "overlay.config",
    title="The running tunnel matches its configuration file",
    subject="node",
    needs=("overlay.interface",),
    timeout=10,
    privileges=("net_admin",),
    codes=(codes.OVERLAY_ALLOWED_IPS, codes.OVERLAY_CONFIG_DRIFT),
)
async def overlay_config(ctx: Context) -> AsyncGenerator[Result, None]:
    """Compares a WireGuard interface with its wg-quick file, if this user may read both.

    It does not compare endpoints: a roaming peer rightly has another one than the file says.
    """
    for state in ctx.tunnels or (None,):
        yield replace(judge(state), aspect="" if state is ctx.overlay or state is None else state.interface or "")


def judge(state: OverlayState | None) -> Result:
    """A difference is a warning: the tunnel works until a restart, or only after one."""
    if state is None or state.product != "wireguard":
        what = f"{state.product} has no wg-quick file" if state else "there is no overlay"
        return skipped(codes.RUN_NOT_APPLICABLE, NODE, Direction.LOCAL, f"{what}, so there is nothing to compare")
    if state.unreadable is not None:
        code = codes.RUN_NEEDS_PRIVILEGE if state.unreadable == PRIVILEGE else codes.RUN_NEEDS_TOOL
        message = f"{state.interface} cannot be compared with its file: this user may not read its state"
        return inconclusive(code, NODE, Direction.LOCAL, message)
    file = state.configured
    if file is None:
        message = f"there is no wg-quick file of {state.interface} to compare with"
        return skipped(codes.RUN_NOT_APPLICABLE, NODE, Direction.LOCAL, message)
    if file.saves:
        message = f"{file.path} has SaveConfig: it saves the live state when the tunnel goes down"
        return skipped(codes.RUN_NOT_APPLICABLE, NODE, Direction.LOCAL, message)
    found = [*_own(state, file), *_peers(state.peers, file.peers)]
    if not found and (twice := tuple(claimed_twice(file.peers))):
        return warned(
            codes.OVERLAY_ALLOWED_IPS,
            NODE,
            Direction.LOCAL,
            f"{file.path} gives {'; '.join(twice[:SHOWN])}: WireGuard gives it to the last of them alone",
            remedies=by_hand(f"Keep it in the AllowedIPs of one peer in {file.path}."),
            measurements=DeathFacts(file=file.path).measurements(),
        )
    if not found:
        return passed(NODE, Direction.LOCAL, f"{state.interface} matches {file.path}")
    return _drift(state, file, found)


def _drift(state: OverlayState, file: ConfiguredTunnel, found: list[str]) -> Result:
    more = f", and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return warned(
        codes.OVERLAY_CONFIG_DRIFT,
        NODE,
        Direction.LOCAL,
        f"{state.interface} differs from {file.path}, and a restart restores the file: "
        f"{'; '.join(found[:SHOWN])}{more}",
        remedies=_as_the_file_says(state, file),
        facts=ConfigDriftFacts(differences=len(found), by_mtu=_by_mtu(state, file)),
        measurements=DeathFacts(file=file.path).measurements(),
        evidence=(Evidence("differences", "live values compared with the file", found),),
    )


def _as_the_file_says(state: OverlayState, file: ConfiguredTunnel) -> Remedies:
    """What makes the tunnel as its file is, without a pause: `wg syncconf` sets neither the MTU nor addresses.

    It takes the mark away that wg-quick has given the tunnel, and with it a full tunnel's way out.
    """
    name, else_ = state.interface, "   # if the file is right; else write the live values into it"
    marked = f" && wg set {name} fwmark {state.fwmark}" if state.fwmark else ""
    lines = [f'bash -c "wg syncconf {name} <(wg-quick strip {name}){marked}"{else_}']
    lines += [f"ip address add {address} dev {name}{else_}" for address in _missing(state, file)]
    if file.mtu is not None and state.mtu != file.mtu:
        lines.append(f"ip link set dev {name} mtu {file.mtu}{else_}")
    return look(*lines, root=True)


def _by_mtu(state: OverlayState, file: ConfiguredTunnel) -> int:
    """How many of the differences the MTU accounts for: its own, and the addresses that a small one takes off."""
    lost = _missing(state, file)
    taken_off = bool(lost) and all(":" in each for each in lost) and (state.mtu or 0) < IPV6_MINIMUM
    return int(file.mtu is not None and state.mtu != file.mtu) + int(taken_off)


def _missing(state: OverlayState, file: ConfiguredTunnel) -> list[str]:
    return [str(address) for address in file.addresses if address not in state.addresses]


def _own(state: OverlayState, file: ConfiguredTunnel) -> Iterable[str]:
    if file.mtu is not None and state.mtu != file.mtu:
        yield f"MTU is {state.mtu}, {file.mtu} in the file"
    if file.listen_port is not None and state.listen_port != file.listen_port:
        yield f"the port is {state.listen_port}, {file.listen_port} in the file"
    if file.public_key and state.public_key and file.public_key != state.public_key:
        yield f"this node's public key is {_short(state.public_key)}, {_short(file.public_key)} in the file"
    if missing := _missing(state, file):
        yield f"addresses in the file are missing on the interface: {', '.join(missing)}"


def _peers(live: Iterable[OverlayPeer], configured: Iterable[ConfiguredPeer]) -> Iterable[str]:
    running = {peer.key: peer for peer in live}
    written = {peer.key: peer for peer in effective(configured)}
    yield from (f"peer {_short(key)} is only in the file" for key in written.keys() - running.keys())
    yield from (f"peer {_short(key)} is not in the file" for key in running.keys() - written.keys())
    for key in sorted(running.keys() & written.keys()):
        was, now = written[key], running[key]
        if set(was.addresses) != set(now.addresses):
            yield f"peer {_short(key)} has allowed-ips {_list(now.addresses)}, {_list(was.addresses)} in the file"
        if now.keepalive_s is not None and was.keepalive_s != now.keepalive_s:
            yield f"peer {_short(key)} has keepalive {now.keepalive_s or 'off'}, {was.keepalive_s or 'off'} in the file"


def claimed_twice(configured: Iterable[ConfiguredPeer]) -> Iterable[str]:
    """Each network that several peers of the file claim, in words."""
    claims: dict[IPNetwork, list[str]] = {}
    for peer in configured:
        for network in dict.fromkeys(peer.addresses):
            claims.setdefault(network, []).append(_short(peer.key))
    yield from (f"{network} to the peers {' and '.join(keys)}" for network, keys in claims.items() if len(keys) > 1)


def effective(configured: Iterable[ConfiguredPeer]) -> tuple[ConfiguredPeer, ...]:
    """The file's peers as WireGuard makes them: of two that claim one network the last gets it."""
    peers = tuple(configured)
    owner = {network: number for number, peer in enumerate(peers) for network in peer.addresses}
    return tuple(
        replace(peer, addresses=tuple(network for network in peer.addresses if owner[network] == number))
        for number, peer in enumerate(peers)
    )


def _short(key: str) -> str:
    return f"{key[:8]}…"


def _list(networks: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, networks))) or "none"
