"""What the kernel counts in this network namespace, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Device:
    """Packets of an interface since it is there. sent_dropped: also those that a full queue of a tun refused."""

    received: int = 0
    received_dropped: int = 0
    sent: int = 0
    sent_errors: int = 0
    sent_dropped: int = 0


@dataclass(frozen=True, slots=True)
class UdpSocket:
    """A UDP socket by its local port. waiting_bytes: what its process has not read. dropped: what did not fit."""

    port: int
    waiting_bytes: int
    dropped: int
    uid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """The queueing discipline of an interface. root: the outermost one, which a shaper's others are within."""

    interface: str
    kind: str
    root: bool = True
    dropped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """All counters of one moment. values: by name, such as `Ip.OutDiscards`; those of IPv6 as `Ip6.OutDiscards`."""

    values: Mapping[str, int] = field(default_factory=dict)
    devices: Mapping[str, Device] = field(default_factory=dict)
    sockets: tuple[UdpSocket, ...] = ()
    queues: tuple[Queue, ...] = ()

    def since(self, before: "Counters", name: str) -> int | None:
        """By how much a counter has grown; None if the kernel does not have it."""
        now, then = self.values.get(name), before.values.get(name)
        return None if now is None or then is None else now - then

    def dropped_by_socket(self, before: "Counters", port: int) -> int | None:
        """What the sockets of a port have dropped since; None if there is none."""
        now = [socket.dropped for socket in self.sockets if socket.port == port]
        then = [socket.dropped for socket in before.sockets if socket.port == port]
        return sum(now) - sum(then) if now and then else None

    def dropped_by_queue(self, before: "Counters", interface: str) -> int:
        """What the root queue of an interface has dropped since."""
        return _dropped(self, interface) - _dropped(before, interface)

    def refused_by_device(self, before: "Counters", interface: str) -> int:
        """What an interface has dropped or failed to send since."""
        now, then = self.devices.get(interface, Device()), before.devices.get(interface, Device())
        return now.sent_dropped + now.sent_errors - then.sent_dropped - then.sent_errors


def _dropped(counters: Counters, interface: str) -> int:
    return sum(queue.dropped for queue in counters.queues if queue.interface == interface and queue.root)
