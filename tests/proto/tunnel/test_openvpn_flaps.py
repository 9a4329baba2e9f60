"""Sessions of OpenVPN that end again and again: two clients with one name, as real logs of them show it."""

import time
from calendar import timegm

import pytest

from preflight.proto.tunnel.openvpn_flaps import Lost, Twins, comes_and_goes, twins
from tests.proto.tunnel.test_openvpn_stage import LOGS

AT = "2026-12-01 02:18:26"


def lines(name: str) -> list[str]:
    """A log with its times."""
    return (LOGS / f"{name}.log").read_text(encoding="utf-8").splitlines()


def unix_s(at: str) -> float:
    """A time of a log."""
    return timegm(time.strptime(at, "%Y-%m-%d %H:%M:%S"))


def session(begins: str, ends: str, why: str = "ping-restart") -> list[str]:
    """A client's lines about one session of some seconds; times are minutes and seconds of an hour."""
    return [
        f"2026-12-01 02:{begins} PUSH: Received control message: 'PUSH_REPLY,ping 10,ping-restart 60'",
        f"2026-12-01 02:{begins} Initialization Sequence Completed",
        f"2026-12-01 02:{ends} SIGUSR1[soft,{why}] received, process restarting",
    ]


LOST = [*session("00:00", "01:10"), *session("01:11", "02:20"), *session("02:22", "03:25")]


def test_a_client_whose_session_another_one_ends() -> None:
    """It has lost two by now, and one more makes it certain."""
    told = lines("twin_client")
    assert comes_and_goes(told, unix_s(AT)) is None
    third = ["2026-12-01 02:18:38 SIGUSR1[soft,ping-restart] received, process restarting"]
    assert comes_and_goes([*told, *third], unix_s("2026-12-01 02:18:40")) == Lost(3, 15.0)


@pytest.mark.parametrize(
    ("log", "now", "lost"),
    [
        (LOST, "2026-12-01 02:04:00", Lost(3, 70.0)),
        # It was so an hour ago.
        (LOST, "2026-12-01 03:04:00", None),
        # A laptop that sleeps, or a network that is away for a moment: sessions last long.
        (
            [*session("00:00", "10:00"), *session("10:02", "20:00"), *session("20:03", "30:00")],
            "2026-12-01 02:30:05",
            None,
        ),
        # The server begins again, and says so.
        ([*LOST[:6], *session("02:22", "03:25", "server-pushed-connection-reset")], "2026-12-01 02:04:00", None),
        # Somebody started it again since.
        ([*LOST, "2026-12-01 02:03:26 SIGTERM[hard,] received, process exiting"], "2026-12-01 02:04:00", None),
        ([line.partition(" 02:")[2] for line in LOST], "2026-12-01 02:04:00", None),
        ([line.replace("2026-12-01", "2026-02-31") for line in LOST], "2026-12-01 02:04:00", None),
    ],
)
def test_a_client_s_sessions(log: list[str], now: str, lost: Lost | None) -> None:
    """Only several short ones in a row, up to now, for want of packets."""
    assert comes_and_goes(log, unix_s(now)) == lost


def test_a_server_with_two_clients_of_one_name() -> None:
    """They come in turn from two hosts."""
    assert twins(lines("twin_server"), unix_s(AT)) == Twins("a", ("10.203.0.1", "10.203.0.3"))
    assert twins(lines("twin_server"), unix_s("2026-12-01 02:40:00")) is None


def dropped(host: str, second: int) -> list[str]:
    """A server's lines about a client that connects while it has a session."""
    return [
        f"2026-12-01 02:00:{second:02} MULTI: new connection by client 'a' will cause previous active sessions by this",
        f"2026-12-01 02:00:{second:02} a/{host}:47261 MULTI: Learn: 10.8.0.2 -> a/{host}:47261",
    ]


@pytest.mark.parametrize(
    ("hosts", "found"),
    [
        ("ABA", Twins("a", ("A", "B"))),
        ("ABC", None),  # one that travels
        ("AAA", None),  # one that begins again
        ("AAAAAAA", Twins("a", ())),  # two behind one address
        ("AB", None),
    ],
)
def test_one_client_that_moves_is_not_two(hosts: str, found: Twins | None) -> None:
    """It has to come back to where it was."""
    log = [line for second, host in enumerate(hosts) for line in dropped(host, second)]
    assert twins(log, unix_s("2026-12-01 02:01:00")) == found
