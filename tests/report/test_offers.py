"""What to do about a cause is the same in each format, and what is missing for all is offered once."""

import re
from collections.abc import Iterable

import pytest

from preflight import codes
from preflight.api import Direction, Result, by_hand, failed, inconclusive
from preflight.report import html, markdown
from preflight.report.grouping import cause_groups
from preflight.report.model import Report
from preflight.report.offers import SHOWN, offers, plain_user
from tests.report.test_text import at, made

RT = Direction.ROUND_TRIP


def of_user(results: Iterable[Result], command: tuple[str, ...], privileges: tuple[str, ...] = ()) -> Report:
    """A report of a command that a user with these privileges ran."""
    report = made(*results)
    node = report.run.node.model_copy(update={"privileges": privileges})
    return report.model_copy(update={"run": report.run.model_copy(update={"command": command, "node": node})})


def without_privilege(peers: Iterable[str]) -> list[Result]:
    """Two checks that need one, about each peer."""
    return [
        at(check, inconclusive(codes.RUN_NEEDS_PRIVILEGE, peer, RT, f"{check} of {peer} may not be done"))
        for check in ("reach.icmp", "overlay.session")
        for peer in peers
    ]


def without_responder(peers: Iterable[str]) -> list[Result]:
    """Each peer with the line that starts one there."""
    return [
        at(
            "reach.udp",
            inconclusive(
                codes.RUN_NEEDS_RESPONDER,
                peer,
                RT,
                "no responder",
                remedies=by_hand(f"preflight responder --bind {peer}", where="peer", host=peer),
            ),
        )
        for peer in peers
    ]


@pytest.mark.parametrize("render", [html.render, markdown.render], ids=["html", "markdown"])
def test_a_missing_privilege_is_one_cause_with_one_line(render: object) -> None:
    """A ticket about two hundred peers does not say two hundred times that the user is not root."""
    assert callable(render)
    report = of_user(without_privilege(f"p{n}" for n in range(20)), ("preflight", "all", "--peer", "x"))
    rendered = render(report)
    assert len(re.findall(r'preflight\)(?:"|&#34;) all --peer x', rendered)) == 1
    assert len(cause_groups(report, whole=False, once=True)) == 1


@pytest.mark.parametrize("render", [html.render, markdown.render], ids=["html", "markdown"])
def test_documents_offer_ssh_as_the_text_does(render: object) -> None:
    """The line that needs nothing installed is in the ticket too."""
    assert callable(render)
    report = of_user(without_responder(["b"]), ("preflight", "all", "--peer", "10.66.0.2=b"), ("net_admin",))
    assert "preflight all --peer 10.66.0.2=b --via ssh" in render(report)


@pytest.mark.parametrize("words", [("watch",), ("all", "--via", "ssh"), ("all", "--lab", "pair"), ()])
def test_ssh_is_offered_only_where_it_can_help(words: tuple[str, ...]) -> None:
    """Not where it was tried, nor for a command that does not know the option."""
    report = of_user(without_responder(["b"]), ("preflight", *words))
    (group,) = cause_groups(report, whole=False, once=True)
    assert "--via ssh" not in " ".join(line for each in offers(report, group, sudo=False) for line in each.lines)


def test_many_peers_share_a_few_lines() -> None:
    """What is missing at many peers is shown for a few, and the rest is counted."""
    report = of_user(without_responder(f"p{n}" for n in range(20)), ("preflight", "watch"))
    (group,) = cause_groups(report, whole=False, once=True)
    (only,) = offers(report, group, sudo=False)
    assert len(only.lines) == SHOWN + 1
    assert only.lines[-1].startswith("# and 14 more lines")


def test_a_cause_that_is_not_missing_something_keeps_its_lines() -> None:
    """Only the first cause's remedies, each once."""
    hole = failed(codes.MTU_BLACK_HOLE, "b", Direction.FORWARD, "hole", remedies=by_hand("Ask the operator."))
    report = of_user([at("mtu.path", hole)], ("preflight", "all"), ("net_admin",))
    (group,) = cause_groups(report, whole=False, once=True)
    assert [each.lines for each in offers(report, group, sudo=plain_user(report))] == [("Ask the operator.",)]
