"""Domains that an overlay resolves and this node does not take."""

import json
from pathlib import Path
from typing import Any

import pytest

from preflight.model.overlay import Withheld
from preflight.overlay.own_names import of_networks, of_tailnet

SAMPLES = Path(__file__).parent / "samples"


def sample(name: str) -> Any:
    """One recorded document."""
    return json.loads((SAMPLES / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("preferences", "tailnet", "expected"),
    [
        ({"CorpDNS": False}, {}, (Withheld("h2.ts.net"),)),
        ({"CorpDNS": True}, {}, ()),
        ({}, {}, ()),
        ({"CorpDNS": False}, {"MagicDNSEnabled": False}, ()),
        ({"CorpDNS": False}, {"MagicDNSSuffix": ""}, ()),
    ],
)
def test_a_tailnet(preferences: dict[str, Any], tailnet: dict[str, Any], expected: tuple[Withheld, ...]) -> None:
    """The recorded status, with what this node accepts."""
    status = sample("tailscale/live2/status-healthy")
    status["CurrentTailnet"] |= tailnet
    assert of_tailnet(status, preferences) == expected


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"dns": {"domain": "Lab.Example.", "servers": ["10.88.0.1"]}}, (Withheld("lab.example", "cccccccc03cbed70"),)),
        ({"dns": {"domain": "lab.example", "servers": []}, "allowDNS": True}, ()),
        ({}, ()),
        ({"dns": []}, ()),
    ],
)
def test_a_network(more: dict[str, Any], expected: tuple[Withheld, ...]) -> None:
    """The recorded list of networks, with what its controller gives."""
    (network,) = sample("zerotier/live2/healthy.listnetworks")
    assert of_networks([{**network, **more}]) == expected
