"""The remote end of this node's OpenVPN client, from a tree like /proc."""

from pathlib import Path

from preflight.net.way.openvpn_remote import openvpn_remote


def process(proc: Path, name: str, *words: str, program: str = "openvpn", namespace: str = "net:[1]") -> Path:
    """One process that runs a program."""
    folder = proc / name
    (folder / "ns").mkdir(parents=True)
    (folder / "ns" / "net").symlink_to(namespace)
    (folder / "comm").write_text(f"{program}\n")
    (folder / "cmdline").write_bytes("\0".join((*words, "")).encode())
    return folder


def test_the_client_s_own_file(tmp_path: Path) -> None:
    """As the process sees it: below its root, or from its folder. Other namespaces and programs do not count."""
    process(tmp_path, "self", "python", program="python")
    here = process(tmp_path, "12", "openvpn", "--config", "/etc/hub.conf")
    (here / "root" / "etc").mkdir(parents=True)
    (here / "root" / "etc" / "hub.conf").write_text("remote 192.0.2.1 1194\n")
    process(tmp_path, "13", "openvpn", "--remote", "192.0.2.9", namespace="net:[2]")
    process(tmp_path, "14", "python", "--remote", "192.0.2.8", program="python")
    (tmp_path / "15").mkdir()
    assert openvpn_remote(tmp_path) == ("192.0.2.1", 1194)


def test_two_clients_and_none(tmp_path: Path) -> None:
    """With two remote ends nobody knows which one is the peer's; a file that is gone says nothing."""
    process(tmp_path, "self", "python", program="python")
    lost = process(tmp_path, "11", "openvpn", "gone.conf")
    (lost / "cwd").mkdir()
    assert openvpn_remote(tmp_path) is None
    process(tmp_path, "12", "openvpn", "--remote", "192.0.2.1")
    assert openvpn_remote(tmp_path) == ("192.0.2.1", 1194)
    process(tmp_path, "13", "openvpn", "--remote", "192.0.2.2")
    assert openvpn_remote(tmp_path) is None
