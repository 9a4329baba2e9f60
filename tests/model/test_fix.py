"""Fixes: what is pasted is what would be run, and no parameter can become anything else."""

import json
import shlex
import subprocess
from pathlib import Path
from typing import Annotated, Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter

from preflight.model.change import NamedValue
from preflight.model.fix import KINDS, Fix, LinkMtu, LinkMtuByAddress, WgQuickValue
from preflight.model.token import CLEANED_BY

FIX: TypeAdapter[Fix] = TypeAdapter(Annotated[Fix, Field(discriminator="id")])
KEY = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
OTHER = "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0="

interfaces = st.from_regex(r"[a-z][a-z0-9.-]{0,14}", fullmatch=True)
addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
networks = addresses.map(lambda address: f"{address}/{128 if ':' in address else 32}")
sizes = st.integers(576, 65535)
paths = st.from_regex(r"/[a-z]{1,5}/[a-z '$;&()-]{0,8}[a-z]", fullmatch=True)
words = st.from_regex(r"[a-z]{1,9}", fullmatch=True)
urls = st.builds("http://{}:{}/{}".format, words, st.integers(1, 65535), words)
services = st.lists(words | st.just("[!UNAVAIL=return]"), max_size=3).map(lambda more: " ".join(["files", *more]))
optional = st.none


def _named(names: st.SearchStrategy[str], values: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[NamedValue, ...]]:
    return st.lists(st.builds(NamedValue, names, values), min_size=1, max_size=4).map(tuple)


PASSING: dict[str, st.SearchStrategy[Any]] = {
    "interface_in": optional() | interfaces,
    "interface_out": optional() | interfaces,
    "source": addresses,
    "destination": optional() | addresses,
    "protocol": st.sampled_from(("udp", "tcp")),
    "source_port": optional() | st.integers(1, 65535),
    "destination_port": optional() | st.integers(1, 65535),
}
PARAMETERS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "link.mtu": {"interface": interfaces, "mtu_bytes": sizes},
    "link.mtu-by-address": {"address": addresses, "mtu_bytes": sizes},
    "link.up": {"interface": interfaces},
    "link.addresses": {"interface": interfaces, "addresses": st.lists(networks, min_size=1, max_size=3).map(tuple)},
    "sysctl": {
        "settings": _named(interfaces.map(lambda i: f"net.ipv4.conf.{i.replace('.', '/')}.rp_filter"), st.just("2"))
    },
    "route": {
        "action": st.sampled_from(("add", "replace", "del")),
        "destination": networks,
        "gateway": optional() | addresses,
        "interface": interfaces,
        "source": optional() | addresses,
        "table": optional() | st.integers(1, 2**32 - 1),
        "locked_mtu_bytes": optional() | sizes,
    },
    "route.around": {"interface": interfaces, "endpoint": addresses},
    "rule": {
        "action": st.sampled_from(("add", "del")), "family": st.sampled_from(("-4", "-6")),
        "priority": st.integers(0, 32766), "does": st.just("lookup"), "table": st.integers(1, 2**32 - 1),
        "source": optional() | networks, "destination": optional() | networks, "inverted": st.booleans(),
        "mark": optional() | st.integers(1, 2**32 - 1),
    },
    "route.refusal": {
        "kind": st.sampled_from(("blackhole", "unreachable", "prohibit")), "destination": networks,
        "table": optional() | st.integers(1, 2**32 - 1),
    },
    "address.delete": {"interface": interfaces, "address": networks},
    "neighbour.delete": {"interface": interfaces, "address": addresses},
    "vxlan.entry": {
        "interface": interfaces, "hardware": st.binary(min_size=6, max_size=6).map(lambda six: six.hex(":")),
        "address": addresses,
    },
    "queue.delete": {"interface": interfaces},
    "ipsec.policy-delete": {
        "direction": st.sampled_from(("in", "out")),
        "source": networks,
        "destination": networks,
        "protocol": optional() | st.integers(1, 255),
        "source_port": optional() | st.integers(1, 65535),
        "destination_port": optional() | st.integers(1, 65535),
        "priority": st.integers(0, 2**32 - 1),
    },
    "wireguard.peer": {
        "interface": interfaces,
        "key": st.just(KEY),
        "endpoint": optional() | st.builds("{}:{}".format, st.ip_addresses(v=4), st.integers(1, 65535)),
        "keepalive_s": st.integers(0, 65535),
        "allowed_ips": optional() | st.lists(networks, min_size=1, max_size=4, unique=True).map(tuple),
    },
    "wireguard.key": {
        "interface": interfaces,
        "key": st.just(KEY),
        "instead_of": optional() | st.just(OTHER),
        "allowed_ips": st.lists(networks, min_size=1, max_size=4, unique=True).map(tuple),
        "endpoint": optional() | st.builds("{}:{}".format, st.ip_addresses(v=4), st.integers(1, 65535)),
        "keepalive_s": optional() | st.integers(0, 65535),
    },
    "wireguard.mark": {"interface": interfaces, "mark": st.integers(1, 2**32 - 1)},
    "wireguard.port": {"interface": interfaces, "port": st.integers(1, 65535)},
    "wireguard.no-preshared-key": {"address": addresses, "key": st.just(KEY)},
    "wireguard.quick": {"interface": interfaces, "again": st.booleans()},
    "wg-quick.value": {
        "interface": interfaces, "setting": st.sampled_from(("MTU", "AllowedIPs")), "peer": optional() | st.just(KEY),
        "value": st.lists(networks, min_size=1, max_size=3).map(", ".join),
    },
    "service.restart": {"service": st.sampled_from(("tailscaled", "zerotier-one", "nebula"))},
    "clock.ntp": {},
    "file.private": {"paths": st.lists(paths, min_size=1, max_size=3).map(tuple)},
    "nft.delete": {
        "family": st.sampled_from(("ip", "ip6", "inet")), "table": words, "chain": words,
        "handle": st.integers(1, 2**63 - 1),
    },
    "nft.accept": {
        "family": st.sampled_from(("ip", "ip6", "inet")), "table": words, "chain": words, "interface": interfaces,
        "source": optional() | addresses, "protocol": st.sampled_from(("udp", "tcp")), "port": st.integers(1, 65535),
    },
    "nft.pass": {
        "family": st.sampled_from(("ip", "ip6", "inet", "netdev")), "table": words, "chain": words,
        "before": optional() | st.integers(1, 2**63 - 1), **PASSING,
    },
    "iptables.pass": {
        "family": st.sampled_from(("ip", "ip6")), "table": words, "chain": words,
        "before": optional() | st.integers(1, 2**31 - 1), **PASSING,
    },
    "flow.forget": {
        "source": optional() | st.just("192.0.2.1"), "destination": st.just("192.0.2.2"),
        "source_port": optional() | st.integers(1, 65535), "destination_port": optional() | st.integers(1, 65535),
    },
    "settings.value": {"file": paths, "key": st.just("control.url"), "value": urls},
    "settings.peer-address": {"file": paths, "before": addresses, "address": addresses},
    "environment": {"variables": _named(st.just("VOX_ORCHESTRATOR_MESH_CONTROL_URL"), urls)},
    "token.alone": {"path": paths, "rids": st.sets(st.sampled_from(tuple(CLEANED_BY)), min_size=1).map(tuple)},
    "workers.line": {
        "file": paths, "name": st.just("VOX_MESH_CONTROL_ADDR"), "value": optional() | urls,
        "rids": st.sets(st.sampled_from(tuple(CLEANED_BY))).map(tuple),
    },
    "environment.bearer": {},
    "environment.no-proxy": {"host": words | addresses},
    "names.hosts": {"host": words, "address": addresses},
    "names.hosts-less": {"host": words, "address": addresses},
    "names.switch": {"services": services},
    "names.resolver-less": {"address": addresses},
    "tailscale.take": {"option": st.sampled_from(("accept-routes", "accept-dns"))},
    "zerotier.take": {
        "network": st.from_regex(r"[0-9a-f]{16}", fullmatch=True),
        "option": st.sampled_from(("allowManaged", "allowDNS", "allowGlobal", "allowDefault")),
    },
    "responder.start": {"address": addresses, "port": st.integers(1, 65535), "allow": optional() | addresses},
}  # fmt: skip
IDS = {kind.__dataclass_fields__["id"].default: kind for kind in KINDS}

fixes = st.one_of(*(st.builds(IDS[id], **parameters) for id, parameters in PARAMETERS.items()))


def test_every_kind_is_tested() -> None:
    """Protects the two properties below: a new kind of fix has them too."""
    assert set(PARAMETERS) == set(IDS)
    assert set(KINDS) == set(get_args(Fix))


@given(fixes)
def test_a_fix_survives_json(fix: Fix) -> None:
    """What a report holds is the same change after it was written and read."""
    assert FIX.validate_json(FIX.dump_json(fix)) == fix


@given(fixes)
def test_the_lines_are_the_commands(fix: Fix) -> None:
    """A shell makes of each pasted line exactly the words that the program would run."""
    if fix.commands and not fix.asks:
        assert fix.lines == tuple(map(shlex.join, fix.commands))
        assert [shlex.split(line) for line in fix.lines] == [list(command) for command in fix.commands]
    assert all("\n" not in line and line for line in fix.lines)


def test_a_peer_s_interface_is_found_there() -> None:
    """Protects the line for a peer, of which only the address is known here: it becomes the plain change there."""
    fix = LinkMtuByAddress(address="10.66.0.2", mtu_bytes=1312)
    (line,) = fix.lines
    assert line == "ip link set dev $(ip -o address show to 10.66.0.2 | awk '{print $2; exit}') mtu 1312"
    assert fix.on("wg0") == LinkMtu(interface="wg0", mtu_bytes=1312)


FILE = f"""[Interface]
Address = 10.66.0.1/24
mtu = 1500

[Peer]
AllowedIPs = 10.66.0.3/32
PublicKey = {OTHER}

[Peer]
AllowedIPs=10.66.0.9/32, 10.66.0.8/32
Endpoint = [2001:db8::1]:51820
PublicKey = {KEY}
"""


@pytest.mark.parametrize(
    ("fix", "before", "after"),
    [
        (WgQuickValue(interface="wg0", setting="MTU", value="1420"), "mtu = 1500", "mtu = 1420"),
        (
            WgQuickValue(interface="wg0", setting="AllowedIPs", value="10.66.0.2/32", peer=KEY),
            "AllowedIPs=10.66.0.9/32, 10.66.0.8/32",
            "AllowedIPs= 10.66.0.2/32",
        ),
        # What a section does not have yet follows its key, or its head.
        (
            WgQuickValue(interface="wg0", setting="PersistentKeepalive", value="25", peer=OTHER),
            f"{OTHER}\n",
            f"{OTHER}\nPersistentKeepalive = 25\n",
        ),
        (WgQuickValue(interface="wg0", setting="ListenPort", value="51820"), "face]\n", "face]\nListenPort = 51820\n"),
        (WgQuickValue(interface="wg0", setting="AllowedIPs", value="::/0", peer="A" * 43 + "="), "", ""),
    ],
)
def test_only_the_value_of_one_section_changes(tmp_path: Path, fix: WgQuickValue, before: str, after: str) -> None:
    """What is pasted finds its line by itself, whatever the order of a section, and touches no other peer's."""
    file = tmp_path / "wg0.conf"
    file.write_text(FILE)
    (line,) = fix.lines
    subprocess.run(["/bin/sh", "-c", line.replace(fix.file, str(file))], check=True)
    assert file.read_text() == FILE.replace(before, after)


HOSTILE = ("", "-x", "--help", "a b", "a\nb", "a;reboot", "$(reboot)", "`id`", "a/../b", "a\0b", "x" * 300, "a|b")
ROUTE = {"id": "route", "action": "add", "destination": "10.66.0.2/32", "interface": "wg0"}
RULE = {
    **{"id": "rule", "action": "del", "family": "-4", "priority": 90},
    **{"does": "prohibit", "destination": "10.66.0.2/32"},
}
PASS = {
    "id": "nft.pass", "family": "ip", "table": "t", "chain": "c", "interface_out": "wg0", "destination": "10.66.0.2"
}  # fmt: skip
POLICY = {"id": "ipsec.policy-delete", "direction": "out", "source": "0.0.0.0/0", "destination": "10.66.0.2/32"}
PEER = {"id": "wireguard.peer", "interface": "wg0", "key": KEY, "keepalive_s": 25}
ENTRY = {"id": "vxlan.entry", "interface": "vx0", "hardware": "02:00:00:00:00:99", "address": "192.0.2.1"}
RENEWED = {"id": "wireguard.key", "interface": "wg0", "key": KEY, "allowed_ips": ["10.66.0.2/32"]}


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize(
    ("sound", "name"),
    [
        ({"id": "link.mtu", "interface": "wg0", "mtu_bytes": 1312}, "interface"),
        ({"id": "link.mtu-by-address", "address": "10.66.0.2", "mtu_bytes": 1312}, "address"),
        ({"id": "link.up", "interface": "wg0"}, "interface"),
        (ROUTE, "destination"),
        (ROUTE, "interface"),
        (ROUTE | {"gateway": "10.0.0.1"}, "gateway"),
        (ROUTE, "action"),
        (RULE, "action"),
        (RULE, "family"),
        (RULE, "does"),
        (RULE, "destination"),
        (RULE | {"source": "10.66.0.1/32"}, "source"),
        ({"id": "route.refusal", "kind": "prohibit", "destination": "10.66.0.2/32"}, "kind"),
        ({"id": "route.refusal", "kind": "prohibit", "destination": "10.66.0.2/32"}, "destination"),
        ({"id": "address.delete", "interface": "wg0", "address": "10.66.0.2/32"}, "interface"),
        ({"id": "address.delete", "interface": "wg0", "address": "10.66.0.2/32"}, "address"),
        ({"id": "neighbour.delete", "interface": "eth0", "address": "192.0.2.1"}, "interface"),
        ({"id": "neighbour.delete", "interface": "eth0", "address": "192.0.2.1"}, "address"),
        ({"id": "queue.delete", "interface": "eth0"}, "interface"),
        (ENTRY, "interface"),
        (ENTRY, "hardware"),
        (ENTRY, "address"),
        (POLICY, "direction"),
        (POLICY, "source"),
        (POLICY, "destination"),
        ({"id": "route.around", "interface": "wg0", "endpoint": "192.0.2.1"}, "interface"),
        ({"id": "route.around", "interface": "wg0", "endpoint": "192.0.2.1"}, "endpoint"),
        (PEER, "interface"),
        (PEER, "key"),
        (PEER | {"endpoint": "192.0.2.1:51820"}, "endpoint"),
        (PEER | {"taken_from": OTHER}, "taken_from"),
        (RENEWED, "interface"),
        (RENEWED, "key"),
        (RENEWED | {"instead_of": OTHER}, "instead_of"),
        (RENEWED | {"endpoint": "192.0.2.1:51820"}, "endpoint"),
        ({"id": "wireguard.mark", "interface": "wg0", "mark": 51820}, "interface"),
        ({"id": "wireguard.port", "interface": "wg0", "port": 51821}, "interface"),
        ({"id": "wireguard.no-preshared-key", "address": "10.66.0.2", "key": KEY}, "address"),
        ({"id": "wireguard.no-preshared-key", "address": "10.66.0.2", "key": KEY}, "key"),
        ({"id": "wireguard.quick", "interface": "wg0"}, "interface"),
        ({"id": "service.restart", "service": "nebula"}, "service"),
        ({"id": "nft.delete", "family": "inet", "table": "filter", "chain": "input", "handle": 4}, "table"),
        ({"id": "nft.delete", "family": "inet", "table": "filter", "chain": "input", "handle": 4}, "chain"),
        (PASS, "table"),
        (PASS, "chain"),
        (PASS, "interface_out"),
        (PASS, "destination"),
        (PASS | {"protocol": "ipv6-icmp"}, "interface_out"),
        (PASS | {"id": "iptables.pass"}, "chain"),
        (PASS | {"id": "iptables.pass"}, "destination"),
        ({"id": "flow.forget", "source": "192.0.2.1"}, "source"),
        ({"id": "flow.forget", "destination": "192.0.2.1", "destination_port": 51820}, "destination"),
        ({"id": "settings.value", "file": "/etc/p.yaml", "key": "control.url", "value": "http://b"}, "file"),
        ({"id": "settings.value", "file": "/etc/p.yaml", "key": "control.url", "value": "http://b"}, "key"),
        ({"id": "settings.value", "file": "/etc/p.yaml", "key": "control.url", "value": "http://b"}, "value"),
        ({"id": "settings.value", "file": "/p.yaml", "key": "control.ca_file", "value": "/ca.pem"}, "value"),
        *(
            ({"id": "settings.peer-address", "file": "/p.yaml", "before": "10.66.0.20", "address": "10.66.0.2"}, name)
            for name in ("file", "before", "address")
        ),
        ({"id": "environment.no-proxy", "host": "b"}, "host"),
        ({"id": "names.hosts", "host": "control", "address": "10.66.0.3"}, "host"),
        ({"id": "names.hosts", "host": "control", "address": "10.66.0.3"}, "address"),
        ({"id": "names.hosts-less", "host": "control", "address": "10.66.0.3"}, "host"),
        ({"id": "names.hosts-less", "host": "control", "address": "10.66.0.3"}, "address"),
        ({"id": "names.resolver-less", "address": "10.0.0.1"}, "address"),
        ({"id": "responder.start", "address": "10.66.0.2"}, "address"),
        ({"id": "responder.start", "address": "10.66.0.2", "allow": "10.66.0.1"}, "allow"),
    ],
)
def test_no_parameter_smuggles_anything(sound: dict[str, Any], name: str, text: str) -> None:
    """Protects from a report by a stranger: an option, a second line, a shell's sign, a way out of a folder."""
    assert FIX.validate_json(json.dumps(sound)).id == sound["id"]
    with pytest.raises(ValueError):
        FIX.validate_json(json.dumps(sound | {name: text}))


@pytest.mark.parametrize(
    "bad",
    [
        *({"id": "names.switch", "services": text} for text in HOSTILE if text != "a b"),
        {"id": "link.mtu", "interface": "wg0", "mtu_bytes": "1312"},
        {"id": "link.mtu", "interface": "wg0", "mtu_bytes": 0},
        {"id": "link.mtu", "interface": "wg0", "mtu_bytes": True},
        {"id": "link.mtu", "interface": "wg0", "mtu_bytes": 1312, "also": "rm"},
        {"id": "link.mtu", "interface": "a23456789012345x", "mtu_bytes": 1312},
        {"id": "shell", "line": "reboot"},
        {"interface": "wg0", "mtu_bytes": 1312},
        {"id": "sysctl", "settings": [{"name": "kernel.core_pattern", "value": "|/tmp/x"}]},
        {"id": "sysctl", "settings": [{"name": "net.ipv4.conf.wg0.rp_filter", "value": "0"}]},
        {"id": "sysctl", "settings": [{"name": "net.ipv4.conf.../x.rp_filter", "value": "2"}]},
        {"id": "sysctl", "settings": [{"name": "net.ipv4.ping_group_range", "value": "5 1"}]},
        {"id": "sysctl", "settings": []},
        {"id": "file.private", "paths": ["token"]},
        {"id": "file.private", "paths": ["/etc/../etc/shadow"]},
        {"id": "file.private", "paths": ["/a\nb"]},
        {"id": "file.private", "paths": []},
        {"id": "environment", "variables": [{"name": "LD_PRELOAD", "value": "/tmp/x.so"}]},
        {"id": "environment", "variables": [{"name": "VOX_MESH_TOKEN", "value": "x"}]},
        {"id": "environment", "variables": [{"name": "VOX_MESH_CONTROL_ADDR", "value": "http://u:p@b"}]},
        {"id": "settings.value", "file": "/p.yaml", "key": "control.url", "value": "http://b/?token=x"},
        {"id": "settings.value", "file": "/p.yaml", "key": "control.url", "value": "file:///etc/shadow"},
        {"id": "route", "action": "add", "destination": "10.66.0.2", "interface": "wg0"},
        {"id": "route", "action": "add", "destination": "10.66.0.1/24", "interface": "wg0"},
        {"id": "route", "action": "add", "destination": "10.66.0.2/32"},
        PEER | {"keepalive_s": None},
        PEER | {"allowed_ips": []},
        PEER | {"allowed_ips": ["10.66.0.2/32", "10.66.0.2/32"]},
        PEER | {"endpoint": "fd66::2:51820x"},
        PEER | {"endpoint": "192.0.2.1:0"},
        {"id": "nft.accept", "family": "inet", "table": "f", "chain": "i", "interface": "wg0", "protocol": "udp"},
        {"id": "responder.start", "address": "fe80::1%eth0"},
    ],
)
def test_what_is_not_exactly_right_is_refused(bad: dict[str, Any]) -> None:
    """Protects from a fix of another type, range or name than this program would make."""
    with pytest.raises(ValueError):
        FIX.validate_json(json.dumps(bad))
