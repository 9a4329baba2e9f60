"""Why a peer answers no path-MTU probe, and what to do."""

from preflight.model.peer import Peer
from preflight.model.pmtu import PathMtu, SearchOutcome
from preflight.model.remedy import Remedies, look
from preflight.proto.responder.answerer import replace_answerer, who_answers
from preflight.proto.responder.reach import start_responder


def unanswered(peer: Peer, found: PathMtu, *, others_answered: bool) -> tuple[str, Remedies]:
    """A sentence, and what would decide it.

    others_answered: the same port answers this node's other packets, which it sends without a key. A responder of this
    program that has a key leaves only these probes unanswered then.
    """
    port = f"UDP port {peer.responder_port}"
    closed = found.outcome is SearchOutcome.REFUSED
    decided = "a responder there, with the same key, would decide it"
    start = start_responder(peer.target, peer.address, peer.responder_port, certain=closed)
    if closed:
        return f"nothing listens on {port} of {peer.target}; {decided}", start
    if found.rejected:
        remedies = replace_answerer(peer.target, peer.address, peer.responder_port, found.rejected)
        return f"{who_answers(peer.target, peer.responder_port, found.rejected)}; {decided}", remedies
    silent = f"{peer.target} does not answer path-MTU probes on {port}"
    if not others_answered:
        return f"{silent}; {decided}", start
    key = f"Give this node the key file of the responder of {peer.target}: responder.key_file in preflight.yaml."
    return f"{silent}, but it answers other packets: its responder may want its key, and this node has none", look(key)
