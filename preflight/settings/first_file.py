"""The first settings file of a node, from what is found on it: pure text, valid at once, every other key commented."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from preflight.model.overlay import OverlayState
from preflight.model.peer import Peer

SCHEMA_FILE = "preflight.schema.json"


@dataclass(frozen=True, slots=True)
class Found:
    """What is found on a node. set_variables: names of the `VOX_MESH_*` variables in its environment."""

    hostname: str
    overlay: OverlayState | None
    peers: Sequence[Peer] = ()
    control_url: str | None = None
    scope_id: str | None = None
    set_variables: Sequence[str] = ()


def initial_settings(found: Found) -> str:
    """The text of a `preflight.yaml`. Lines that start with `# ` and a key can be uncommented unchanged."""
    blocks = (_head(found), _node(found), _peers(found), _control(found), _responder(), _overlay(found), _rest())
    return "\n".join(line for block in blocks for line in (*block, ""))


def _head(found: Found) -> Iterator[str]:
    yield f"# yaml-language-server: $schema={SCHEMA_FILE}"
    yield "# Settings of `preflight`; every key is optional. Paths are relative to this file. No secret belongs in it:"
    yield "# tokens and keys are named by file (mode 0600), or come from the environment, which wins."
    if found.set_variables:
        yield f"# Set in the environment when this was written: {', '.join(found.set_variables)}."


def _node(found: Found) -> Iterator[str]:
    yield "node:"
    yield f"  id: {_scalar(found.hostname)}"
    yield "  # labels: [pool=infer]"


def _peers(found: Found) -> Iterator[str]:
    yield "# Who is measured. `responder` is the UDP port of `preflight responder` there (default 862), `agent_id` its"
    yield "# mailbox on the control plane: with both a silent peer can still be asked which direction is dead."
    if found.peers:
        yield "peers:"
        yield from (f"  - {_peer(peer)}" for peer in found.peers)
    else:
        yield "# No peer with an address of its own was found."
        yield "# peers:"
        yield '#   - {address: 10.66.0.2, name: b, responder: 862, agent_id: "2"}'


def _peer(peer: Peer) -> str:
    name = f", name: {_scalar(peer.name)}" if peer.name else ""
    return f"{{address: {_scalar(peer.address)}{name}}}"


def _control(found: Found) -> Iterator[str]:
    yield "# The control plane, by its overlay address or a name that leads there from everywhere; never a LAN address."
    if found.control_url or found.scope_id:
        yield "control:"
    else:
        yield "# control:"
    yield _line("url", found.control_url, "http://10.66.0.3:9847", commented=not (found.control_url or found.scope_id))
    yield _line("scope_id", found.scope_id, "my-cluster", commented=not (found.control_url or found.scope_id))
    for key, value in (
        ("token_file", "worker.token"),
        ("submitter_token_file", "submitter.token"),
        ("ca_file", "ca.pem"),
        ("timeout_ms", "15000"),
    ):
        yield f"#   {key}: {value}"


def _line(key: str, value: str | None, example: str, *, commented: bool) -> str:
    text = f"  {key}: {_scalar(value or example)}"
    return f"# {text}" if commented or value is None else text


def _responder() -> Iterable[str]:
    return (
        "# The key that this node and the responders share (at least 16 bytes), and this node's own mailbox.",
        "# responder:",
        "#   key_file: responder.key",
        '#   agent_id: "1"',
    )


def _overlay(found: Found) -> Iterator[str]:
    state = found.overlay
    if state is None or state.interface is None:
        yield "# No overlay interface was found; name it where it is not detected."
        yield "# overlay:"
        yield "#   interface: wg0"
        return
    yield f"# Found: {state.product}, MTU {state.mtu}. Without this block each run detects it again."
    yield "overlay:"
    yield f"  interface: {_scalar(state.interface)}"


def _rest() -> Iterable[str]:
    return (
        "# checks:",
        '#   skip: ["udp.nat-timeout"]',
        "#   third_party: true",
        "# thresholds:",
        "#   loss_percent: 1.0",
        "#   jitter_ms: 30",
        "#   rtt_ms: {interactive: 150}",
        "#   stale_ms: 90000",
        "# accept:",
        '#   - {code: overlay.relayed, target: b, reason: "no direct way through their NAT", until: "2027-01-31"}',
        "# report:",
        "#   redact: [addresses]",
    )


def _scalar(text: str) -> str:
    """A YAML scalar: plain where it cannot be misread, else a JSON string, which YAML reads too."""
    plain = text.replace(".", "").replace("-", "").replace("_", "").isalnum() and text[0].isalpha()
    words = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}
    return text if plain and text.isascii() and text.lower() not in words else json.dumps(text)
