"""Where a product's policy is changed: which of them drops is not known here, so no line is called a fix."""

import pytest

from preflight.model.remedy import as_text
from preflight.proto.tunnel.policy_advice import let_udp_in, policy_levers, udp_words


def test_nobody_knows_who_drops() -> None:
    """No line is called a fix: of the tailnet's rules, shields and a filter only one has to be changed."""
    levers = (*policy_levers("tailscale", "nb", here=False), *policy_levers("zerotier", "nb", here=True))
    assert {each.kind for each in levers} == {"next"}
    assert "shields-up" in (as_text(levers) or "")
    assert [each.where for each in policy_levers("zerotier", "nb", here=False)] == ["product console", "peer"]
    assert "firewall.inbound" in (as_text(policy_levers("nebula", "nb", here=False)) or "")


@pytest.mark.parametrize(
    ("product", "where", "words"),
    [
        ("tailscale", "product console", "acls or grants) allow this node UDP port 862 of nb"),
        ("zerotier", "product console", "flow rules accept UDP"),
        ("nebula", "peer", "{port: 862, proto: udp, host: any}"),
    ],
)
def test_udp_is_let_in_by_the_product(product: str, where: str, words: str) -> None:
    """The product's own rules, at the place where they are."""
    (lever,) = let_udp_in(product, "nb", 862)
    assert (lever.kind, lever.where) == ("next", where)
    assert words in (as_text([lever]) or "")


@pytest.mark.parametrize("product", ["wireguard", "vxlan"])
def test_without_a_policy_it_is_a_filter_of_the_host(product: str) -> None:
    """These products have none inside their sessions."""
    assert let_udp_in(product, "nb", 862) == ()
    assert udp_words(product, "nb") == "a firewall on nb drops it"
