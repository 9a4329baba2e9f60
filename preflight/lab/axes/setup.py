"""A set-up: one value of every axis."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Self

from preflight.lab.axes import addressing, control, node, product, underlay
from preflight.lab.axes.axis import Axis, Value
from preflight.lab.part import Part

AXES: Mapping[str, Axis] = {
    **product.AXES,
    **addressing.AXES,
    **underlay.AXES,
    **node.AXES,
    **control.AXES,
}
"""Every axis by name, in the order in which their parts are built."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The name of one value for each axis. The defaults are the plain lab; `Setup.of` checks the names."""

    product: str = "wireguard"
    families: str = "both"
    addresses: str = "private"
    layout: str = "mesh"
    routes: str = "subnet"
    others: str = "none"
    outer: str = "ipv4"
    nat: str = "none"
    uplinks: str = "one"
    link_mtu: str = "1500"
    below: str = "none"
    delay: str = "none"
    rate: str = "unlimited"
    firewall: str = "open"
    filter: str = "loose"
    second_vpn: str = "none"
    namespace: str = "host"
    user: str = "root"
    control: str = "address"
    transport: str = "plain"
    home: str = "third"
    responder: str = "key"
    cluster: str = "empty"
    gateway: str = "nginx"
    resolver: str = "own"

    @classmethod
    def of(cls, values: Mapping[str, str]) -> Self:
        """A set-up from the values that differ from the plain ones. Raises ValueError for an unknown name."""
        for name, value in values.items():
            if name not in AXES:
                raise ValueError(f"no axis is called {name!r}: {', '.join(AXES)}")
            if value not in AXES[name].values:
                raise ValueError(f"{name} cannot be {value!r}: {', '.join(AXES[name].values)}")
        return cls(**values)

    def __getitem__(self, axis: str) -> str:
        """The value of an axis."""
        return str(getattr(self, axis))

    def changed(self) -> dict[str, str]:
        """The axes whose value is not the plain one: enough to make the set-up again."""
        return {name: self[name] for name, axis in AXES.items() if self[name] != axis.plain}

    def with_plain(self, axis: str) -> Self:
        """The same with the plain value of one axis."""
        return replace(self, **{axis: AXES[axis].plain})

    def values(self) -> Iterator[Value]:
        """The values themselves, in the order in which their parts are built."""
        return (axis.values[self[name]] for name, axis in AXES.items())

    def parts(self) -> tuple[Part, ...]:
        """How it is built."""
        return tuple(part for value in self.values() for part in value.parts)

    @property
    def keyed(self) -> bool:
        """Whether a responder with a's key runs at b."""
        return self.responder in ("key", "observing")

    def silent(self) -> frozenset[str]:
        """Codes that a run gives here although nothing is broken."""
        return frozenset[str]().union(*(value.silent for value in self.values()))

    def digest(self) -> str:
        """A short name: equal for equal set-ups, on every machine."""
        text = ",".join(f"{name}={value}" for name, value in sorted(self.changed().items()))
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def __str__(self) -> str:
        """The values that differ from the plain ones, as scores show them."""
        return ", ".join(f"{name} {value}" for name, value in self.changed().items()) or "plain"


assert [field.name for field in fields(Setup)] == list(AXES)
