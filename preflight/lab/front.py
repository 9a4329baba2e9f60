"""What is in front of the control plane, whichever program it is: what it does with each request.

The programs' own modules (`nginx`, `caddy`, `haproxy`) make their configuration of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

GatewayName = Literal["nginx", "caddy", "haproxy"]
Sites = Literal["", "two", "one"]
SITE = "populi.internal"
"""The name under which a gateway of `Front.sites` serves the control plane."""
OTHER_PAGE = "<!doctype html><title>Shop</title>"
NOBODY = "127.0.0.1:1"
"""A backend that is dead."""
SECURE_PORT = 443


@dataclass(frozen=True, slots=True)
class Act:
    """What a gateway does with a request: it hands it on, unless another field is set.

    status: it answers itself, with `page` as HTML or its usual page, and with these headers. to: where a redirect with
    that status leads; `<path>` means the path that was asked for, `<host>` for the host of the URL.
    dead: it hands the request to a backend that is dead. password: it needs a user and a password first.
    without: what it takes out of a request that it hands on. bearer: it puts the mesh token into one.
    """

    status: int = 0
    page: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    to: str = ""
    dead: bool = False
    password: bool = False
    without: Literal["", "bearer", "body"] = ""
    bearer: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """The requests with this path, or with one that begins so."""

    path: str
    act: Act
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Front:
    """What is at the control plane's address, in front of it: a gateway, or a relay of the lab.

    routes: what it does with some requests; root: with the others. prefix: the path before the control plane's own,
    which it takes away. keeps_slash: and not the slash behind it. most_body: the most bytes of a body that it hands on;
    0: as many as it likes.
    upgrades: its port redirects to TLS on the usual port, where the control plane is. plain: its port speaks plain HTTP
    although the plan has a certificate. certificates: it demands one of the client. old_tls: it accepts TLS 1.0, 1.1.
    no_new_tls: and nothing newer.
    sites: it serves the control plane under the name `SITE` only. `two`: clients that ask for another name get the
    certificate of another site; `one`: it refuses their handshakes. caches: it keeps good answers for a minute.
    half_dead: it hands every second request to a backend that is dead. relay: the name of one in `lab.relays`.
    """

    routes: tuple[Route, ...] = ()
    root: Act = field(default_factory=Act)
    prefix: str = ""
    keeps_slash: bool = False
    most_body: int = 0
    upgrades: bool = False
    plain: bool = False
    certificates: bool = False
    old_tls: bool = False
    no_new_tls: bool = False
    sites: Sites = ""
    caches: bool = False
    half_dead: bool = False
    relay: str = ""


@dataclass(frozen=True, slots=True)
class Stand:
    """Where a gateway is. host: its address, in brackets if need be; folder: with its certificates, for its files.

    backend: the control plane's host and port. secure: the gateway's own port speaks TLS.
    """

    host: str
    port: int
    backend: str
    folder: Path
    secure: bool

    @property
    def bearer(self) -> str:
        """The header with the mesh token, as the control plane's own file has it."""
        return f"Bearer {(self.folder / 'mesh-token').read_text(encoding='ascii').strip()}"

    @property
    def bind(self) -> str:
        """Its host and port."""
        return f"{self.host}:{self.port}"
