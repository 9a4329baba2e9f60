"""What a host has received from another, as hellos report it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Heard:
    """What a responder has received from one address, as far as it remembers.

    packets: STAMP packets, including refused ones; hellos: from the responder there. The ages are those of the last
    ones in seconds, None: there was none. overflowed: datagrams from any sender that recently found its receive queue
    full.
    """

    packets: int = 0
    packet_age_s: float | None = None
    hellos: int = 0
    hello_age_s: float | None = None
    overflowed: int = 0


AGE_ERROR_S = 0.02
"""How far ages in hellos may be off: they are sent in milliseconds, and clocks drift. On a path without delay a
packet's age is the time since it left, and half a millisecond must not move it before the inquiry."""


@dataclass(frozen=True, slots=True)
class HelloReport:
    """The newest hello of a peer during an inquiry: what the peer had received from this node when it sent the hello.

    after_s: its arrival, counted from the inquiry's first packet. up_s: how long the peer's responder had listened.
    by_responder: this node's responder received it and reported it.
    """

    after_s: float
    up_s: float
    heard: Heard
    by_responder: bool = False

    @property
    def heard_since(self) -> bool:
        """Whether the peer had received a packet of this inquiry (or one sent up to a hello's travel time before it).

        Only the peer's clock counts the age, so the two clocks need not agree.
        """
        return self.heard.packet_age_s is not None and self.heard.packet_age_s <= self.after_s + AGE_ERROR_S

    @property
    def listened_before(self) -> bool:
        """Whether the peer's responder was up before the first packet of this inquiry left."""
        return self.up_s >= self.after_s + AGE_ERROR_S
