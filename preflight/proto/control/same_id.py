"""What the list of nodes shows about this node's own id and scope; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from preflight.model.control import NodeRecord
from preflight.model.host_port import bracketed
from preflight.model.printable import excerpt
from preflight.proto.control.left_behind import MARK
from preflight.proto.control.several import TEST_NODES
from preflight.proto.control.url import ControlUrl

SHOWN = 64


@dataclass(frozen=True, slots=True)
class OwnRow:
    """A living row with this node's id, that this run has not made. address: the one at which it says to listen."""

    node: NodeRecord
    age_s: float
    address: str | None


def own_row(
    nodes: Sequence[NodeRecord], now_ms: float, stale_ms: float, own_id: str | None, url: ControlUrl | None
) -> OwnRow | None:
    """The row of this node's id, if somebody has refreshed it recently."""
    node = next((each for each in nodes if each.id == own_id), None)
    if node is None or own_id is None or _is_ours(node):
        return None
    age_s = max(0.0, (now_ms - node.last_seen_unix_ms) / 1000)
    return OwnRow(node, age_s, _address(node, url)) if age_s * 1000 <= stale_ms else None


def other_scope(
    nodes: Sequence[NodeRecord], now_ms: float, stale_ms: float, own_id: str | None, scope_id: str | None
) -> tuple[str, int] | None:
    """The scope id of all living nodes, and their number, where this node has another one and is not among them.

    Without a scope id this node may be no worker, so its absence says nothing.
    """
    living = [each for each in nodes if now_ms - each.last_seen_unix_ms <= stale_ms and not _is_ours(each)]
    if scope_id is None or any(each.id == own_id for each in nodes):
        return None
    scopes = {each.scope_id for each in living}
    only = next(iter(scopes)) if len(scopes) == 1 else None
    return None if only is None or only == scope_id else (only, len(living))


def since(row: OwnRow) -> str:
    """Which row it is, for a message."""
    where = f", announcing {excerpt(row.address, SHOWN)}" if row.address else ""
    return f"the id of this node, {excerpt(row.node.id, SHOWN)}, is in the list: seen {row.age_s:.0f} s ago{where}"


def _is_ours(node: NodeRecord) -> bool:
    """Whether a run of this toolkit made the row."""
    capabilities = node.fields.get("capabilities")
    labels = capabilities.get("labels") if isinstance(capabilities, dict) else None
    marked = isinstance(labels, list) and any(isinstance(each, str) and each.startswith(MARK) for each in labels)
    return marked or node.id.startswith(TEST_NODES)


def _address(node: NodeRecord, url: ControlUrl | None) -> str | None:
    """The literal address at which a node listens; None for the control plane's own, which real workers announce."""
    place = (node.listen_addr or "").strip()
    host = place.rpartition(":")[0] if place.count(":") == 1 or "]:" in place else place
    try:
        address = str(ip_address(host.strip("[]")))
    except ValueError:
        return None
    control = {f"{bracketed(each)}:{url.port}" for each in url.hosts} if url is not None else set()
    return None if place in control else address
