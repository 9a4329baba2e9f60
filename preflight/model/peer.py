"""Another member of the overlay, and the names of what a result may be about beside one."""

from dataclasses import dataclass

CONTROL = "control"
NODE = "node"
RESPONDER_PORT = 862
"""UDP port of a peer's responder: that of STAMP (RFC 8762 section 4.1)."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another member of the overlay, by its overlay address."""

    address: str
    name: str = ""
    responder_port: int = RESPONDER_PORT
    agent_id: str | None = None

    @property
    def target(self) -> str:
        """How results call it: its name, or its address if it has none."""
        return self.name or self.address
