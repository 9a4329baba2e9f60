"""Faults of the responder's socket: nobody listens there, or it is not the responder that a expects."""

import errno
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from preflight.lab import processes
from preflight.lab.axes.setup import Setup
from preflight.lab.keys import TunnelKeys
from preflight.lab.network import inside
from preflight.lab.part import Part, planned
from preflight.lab.processes import start, wait_for_words
from preflight.lab.site import RESPONDER, write_private
from preflight.lab.stations.fault import Fault, NotThereError
from preflight.lab.stations.proofs import Proof
from preflight.lab.truth import Place, Truth
from preflight.model.host_port import join_host_port
from preflight.model.peer import RESPONDER_PORT
from preflight.programs import python_module

if TYPE_CHECKING:
    from preflight.lab.network import Network

_PLACE = Place("packet", "socket", "receiver")
_READY_S, _ANSWER_S = 5.0, 0.5
_STOPS_WITHIN_S, _LOOK_AGAIN_S = 2.0, 0.01
_STRANGER = "stranger"
_ASKED = b"preflight-lab"


def _is_responder(network: "Network") -> Callable[[int], bool]:
    mark = network.names.mark(RESPONDER)
    return lambda pid: processes.mark_of(pid) == mark


def _address(network: "Network") -> str:
    return network.plan.address("b", network.plan.families[0])


def _ended(network: "Network") -> None:
    processes.end(_is_responder(network))


def _replaced(network: "Network") -> None:
    """Another service of b has the responder's port."""
    _ended(network)
    where = join_host_port(_address(network), RESPONDER_PORT)
    words = python_module("preflight.lab.fake_servers", "datagrams", where)
    log, mark = network.names.directory / f"{_STRANGER}.log", network.names.mark(_STRANGER)
    daemon = start(_STRANGER, network.command("b", *words), mark=mark, log=log)
    wait_for_words(daemon, "listening on ", 1, time.monotonic() + _READY_S)


def _other_key(network: "Network") -> None:
    write_private(network.names.files("b") / "responder.key", TunnelKeys.fresh().private)


def _stopped(network: "Network") -> None:
    processes.notify(_is_responder(network), signal.SIGSTOP)


def _answer(network: "Network") -> bytes | None:
    """What comes back for a datagram of a to the responder's port; None: nothing in time, empty: it is refused."""
    family = socket.AF_INET6 if ":" in _address(network) else socket.AF_INET
    with inside(network.names.namespace("a")), socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.settimeout(_ANSWER_S)
        asking.connect((_address(network), RESPONDER_PORT))
        asking.send(_ASKED)
        try:
            return asking.recv(2048)
        except ConnectionRefusedError:
            return b""
        except TimeoutError:
            return None


def _refuses(network: "Network") -> None:
    if _answer(network) != b"":
        raise NotThereError("b does not refuse datagrams to the responder's port")


def _echoes(network: "Network") -> None:
    if _answer(network) != _ASKED:
        raise NotThereError("what answers at the responder's port is not the stranger")


def _keys_differ(network: "Network") -> None:
    keys = {(network.names.files(node) / "responder.key").read_bytes() for node in ("a", "b")}
    if len(keys) == 1:
        raise NotThereError("a and b have the same key")


def _is_stopped(network: "Network") -> None:
    """A stopped process is in the state T, soon after the signal."""
    ours, deadline = _is_responder(network), time.monotonic() + _STOPS_WITHIN_S
    while True:
        states = [processes.state_of(pid) for pid in processes.all_pids() if ours(pid)]
        if states and set(states) == {"T"}:
            return
        if time.monotonic() > deadline:
            raise NotThereError(f"b's responder is in the state {', '.join(states) or 'ended'}")
        time.sleep(_LOOK_AGAIN_S)


def _no_responder(setup: Setup) -> Truth:
    """Nothing is broken for real traffic, and what a responder would measure is undecided.

    It has to be started with a's key: where b keeps that no node but b knows, and only a person may carry it there.
    """
    return Truth("run.needs-responder", "b", place=_PLACE, where="peer", undecided=True)


def _silent(setup: Setup) -> Truth:
    # A rule of b's that drops only this port would look the same from a: neither place nor remedy can be known.
    return Truth("run.needs-responder", "b", undecided=True, vague=("run.no-answer",))


def _no_load(setup: Setup) -> Truth:
    """Everything else was measured. Whether b lends itself to a load is its owner's to say."""
    return Truth("perf.responder-load-off", "b", "round-trip", where="peer", undecided=True)


def _takes_no_load(network: "Network") -> None:
    if network.plan.load != "asked":
        raise NotThereError("a asks for no load, so that no responder has to take any")
    family = socket.AF_INET6 if ":" in _address(network) else socket.AF_INET
    with inside(network.names.namespace("a")), socket.socket(family, socket.SOCK_STREAM) as asking:
        asking.settimeout(_READY_S)
        refused = asking.connect_ex((_address(network), RESPONDER_PORT)) == errno.ECONNREFUSED
    if not refused:
        raise NotThereError("b does not refuse TCP to the responder's port")


def _without_load(setup: Setup) -> str | None:
    if setup.home == "peer":
        return "load never runs towards the control host"
    return _without(setup)


def _without(setup: Setup) -> str | None:
    return None if setup.keyed else "no responder with a key runs at b"


def _fault(name: str, part: Part, expected: Callable[[Setup], Truth], proof: Proof) -> Fault:
    return Fault(
        name=f"socket-{name}",
        summary=part.summary,
        place=_PLACE,
        made=lambda setup: (part,),
        expected=expected,
        proof=proof,
        excluded=_without,
    )


FAULTS = (
    _fault("closed", Part("b's responder has ended", inject=_ended), _no_responder, _refuses),
    _fault(
        "stranger",
        Part("another service of b has the responder's port", inject=_replaced),
        _no_responder,
        _echoes,
    ),
    _fault("other-key", Part("b's responder has another key", tunnels=_other_key), _no_responder, _keys_differ),
    replace(
        _fault(
            "no-load",
            planned("a asks for load, and b's responder takes none", load="asked"),
            _no_load,
            _takes_no_load,
        ),
        excluded=_without_load,
    ),
    _fault("stopped", Part("b's responder does not go on", inject=_stopped), _silent, _is_stopped),
)
