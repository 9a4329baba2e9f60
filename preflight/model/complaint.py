"""What the daemon of an overlay says is wrong with this node: a hint, until traffic bears it out."""

from dataclasses import dataclass

EXIT_NODE = "exit-node"
"""The aspect of a finding about the peer to which this node sends all that is for the Internet."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """One complaint: the code of the finding that it would be, and its words as a part of a sentence.

    cuts: whether it would account for peers that do not answer; names: for names that are not found. peer: the key of
    the one that it is about.
    """

    code: str
    said: str
    cuts: bool = False
    names: bool = False
    peer: str | None = None
