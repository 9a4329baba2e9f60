"""Where an OpenVPN client sends, by its options."""

import pytest

from preflight.proto.way.openvpn import Remote, config_of, remote_of

CONFIG = "client\nremote 192.0.2.1 51820 udp4   # the hub\n;remote 192.0.2.2\n<ca>\nAAAA\n</ca>\n"


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("openvpn", "--config", "/etc/openvpn/hub.conf"), "/etc/openvpn/hub.conf"),
        (("openvpn", "hub.conf"), "hub.conf"),
        (("openvpn", "--daemon", "--config", "a", "--config", "b"), None),
        (("openvpn", "--remote", "192.0.2.1"), None),
    ],
)
def test_the_file_of_a_command_line(arguments: tuple[str, ...], found: str | None) -> None:
    """The only one; of several nobody says which counts."""
    assert config_of(arguments) == found


@pytest.mark.parametrize(
    ("options", "config", "remote"),
    [
        ((), CONFIG, ("192.0.2.1", 51820)),
        ((), "remote 2001:db8::1\n", ("2001:db8::1", 1194)),
        ((), "port 500\nremote 192.0.2.1\n", ("192.0.2.1", 500)),
        (("--nobind", "--remote", "192.0.2.1", "443", "--verb", "3"), "", ("192.0.2.1", 443)),
        # It takes one of several, and of a name one address: the program alone knows which.
        ((), "remote 192.0.2.1\nremote 192.0.2.2\n", None),
        ((), "remote hub.example 1194\n", None),
        ((), "remote 192.0.2.1 https\n", None),
        ((), "remote 'unfinished\n", None),
        ((), "mode server\n", None),
    ],
)
def test_the_remote_end(options: tuple[str, ...], config: str, remote: Remote | None) -> None:
    """The one address that packets go to, or nothing."""
    assert remote_of(("openvpn", *options), config) == remote
