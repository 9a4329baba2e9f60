"""The sections about responders: this node's own, and how much load it asks of the peers'."""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from preflight.model.peer import RESPONDER_PORT
from preflight.settings.model import Model


class ResponderSettings(Model):
    """The shared key with the peers' responders, and this node's own mailbox."""

    key_file: Path | None = Field(None, description="File with the shared key, at least 16 bytes.")
    agent_id: Annotated[str, BeforeValidator(str)] | None = Field(
        None, pattern=r"^\d+$", description="This node's mailbox on the control plane (decimal digits)."
    )
    port: int = Field(
        RESPONDER_PORT, ge=1, le=65535, description="UDP port of this node's own responder: hellos come to it."
    )
    hellos: bool = Field(
        True, description="Whether a responder with a key says hello to the peers of this file every few seconds."
    )
    observe: bool = Field(
        False,
        description="Whether a responder with a key also reports to a peer that asks by mailbox where its packets die "
        "here: which station, firewall rule or route.",
    )
    load: bool = Field(
        False,
        description="Whether a responder with a key is also the remote end of load for peers that have it: TCP and UDP "
        "as fast as the path carries, for seconds.",
    )
    load_seconds: float = Field(15.0, gt=0, le=60, description="The most seconds of one flow of load.")
    load_megabytes: int = Field(
        5000, ge=1, le=1_000_000, description="The most megabytes of load that all peers together get in an hour."
    )


class LoadSettings(Model):
    """How much load `--tag load` may make; without that option there is none."""

    metered: bool = Field(False, description="Whether this node's traffic is paid for by volume: then no load runs.")
    seconds: float = Field(
        8.0,
        ge=1,
        le=15,
        description="Seconds of one flow; six run with each peer. Fewer may not fill a deep queue.",
    )
    megabytes: int = Field(100, ge=1, le=250, description="The most megabytes of one flow: it ends early then.")
    udp_mbit: float = Field(200.0, gt=0, le=1000, description="The most megabits a second of a UDP flow.")
