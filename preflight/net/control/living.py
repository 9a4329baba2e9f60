"""What answers at a URL that this node does not use, or not yet."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from preflight.model.control import ControlError, HttpAnswer
from preflight.model.event import Listener
from preflight.net.control.client import ControlClient
from preflight.proto.control.populi import HEALTHY, is_populi
from preflight.proto.control.url import ControlUrl


async def health_at(
    url: ControlUrl, ca_file: Path | None, timeout_s: float, listener: Listener | None = None
) -> HttpAnswer | None:
    """The answer to `GET /health` there, as a worker would get it; None if none came. Nothing secret is sent."""
    client = ControlClient(url, ca_file=ca_file, listener=listener)
    try:
        return await client.health(timeout_s=timeout_s)
    except ControlError:
        return None
    finally:
        await client.aclose()


def is_healthy(answer: HttpAnswer | None) -> bool:
    """Whether a healthy control plane gave this answer."""
    return answer is not None and is_populi(answer) and answer.status == HEALTHY


async def answers_at(
    url: ControlUrl, address: str, ca_file: Path | None, timeout_s: float, listener: Listener | None = None
) -> bool:
    """Whether a control plane answers `GET /health` at one address of a URL; without a bearer and any proxy."""
    client = ControlClient(url.at(address), ca_file=ca_file, environment={}, named=url, listener=listener)
    try:
        return is_populi(await client.health(timeout_s=timeout_s))
    except ControlError:
        return False
    finally:
        await client.aclose()


async def the_only_one(
    urls: Sequence[ControlUrl], ca_file: Path | None, timeout_s: float, listener: Listener | None = None
) -> ControlUrl | None:
    """The only one of some URLs at which a healthy control plane answers; None where several do, or none."""
    found = await asyncio.gather(*(health_at(url, ca_file, timeout_s, listener) for url in urls))
    living = [url for url, answer in zip(urls, found, strict=True) if is_healthy(answer)]
    return living[0] if len(living) == 1 else None
