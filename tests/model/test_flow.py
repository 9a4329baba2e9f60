"""The answers to a flow are the same packets the other way."""

from preflight.model.flow import Flow


def test_an_answer_exchanges_both_ends() -> None:
    """Addresses, ports and devices change places; the mark belongs to the socket that sent."""
    flow = Flow(
        source="10.66.0.1",
        destination="10.66.0.2",
        source_port=40000,
        destination_port=862,
        mark=0xCA6C,
        interface_out="wg0",
    )
    answer = flow.answer()
    assert (answer.source, answer.source_port) == ("10.66.0.2", 862)
    assert (answer.destination, answer.destination_port) == ("10.66.0.1", 40000)
    assert (answer.interface_in, answer.interface_out, answer.mark) == ("wg0", None, 0)
    assert answer.answer().interface_out == "wg0"


def test_the_family_is_that_of_the_addresses() -> None:
    """ICMP of an IPv6 flow is ICMPv6."""
    assert Flow(source="fd00::1", destination="fd00::2").is_ipv6
    assert not Flow(source="10.66.0.1", destination="10.66.0.2").is_ipv6
