"""Another member of the overlay, and the names of other targets of a result."""

from dataclasses import dataclass

CONTROL = "control"
NODE = "node"
RESPONDER_PORT = 862
"""UDP port of a peer's responder: that of STAMP (RFC 8762 section 4.1)."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another member of the overlay, by its overlay address. ssh: where `--via ssh` reaches it, if not by its name."""

    address: str
    name: str = ""
    responder_port: int = RESPONDER_PORT
    agent_id: str | None = None
    ssh: str = ""

    @property
    def target(self) -> str:
        """Its name in results, or its address if it has none."""
        return self.name or self.address
