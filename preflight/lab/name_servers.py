"""The name servers of a lab, and a's own files in /etc that say whom to ask."""

import json
from collections.abc import Callable, Mapping

from preflight.lab import processes
from preflight.lab.blueprint import Blueprint, ForwarderName, Places, ResolverPlan
from preflight.lab.names import ROUTER, LabNames
from preflight.programs import python_module

DNS_PORT = 53
_BEHIND = 5300
"""The port of a resolver on loopback, behind the program that forwards to it."""
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fd00::/8", "fe80::/10")
_UNBOUND = """
server:
  interface: {address}
  access-control: 0.0.0.0/0 allow
  access-control: ::/0 allow
  chroot: ""
  username: ""
  directory: ""
  pidfile: ""
  use-syslog: no
  verbosity: 1
  num-threads: 1
  module-config: "iterator"
  do-not-query-localhost: no
  qname-minimisation: no
  local-zone: "test." nodefault
  cache-max-ttl: 0
{private}remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@{port}
"""
_HOSTS = "127.0.0.1 localhost\n::1 localhost\n"
_SWITCH = "passwd: files\ngroup: files\nhosts: files dns\n"
"""What any node has, so that a's own files are not this machine's."""
Command = Callable[[str, list[str]], list[str]]
Waiting = Callable[[float], None]


def write_etc(names: LabNames, plan: Blueprint, places: Places) -> None:
    """Files that `ip netns exec` puts over those of /etc for a's programs."""
    files = {name: places.text(text) for name, text in plan.etc.items()}
    if plan.resolvers:
        files = {"hosts": _HOSTS, "nsswitch.conf": _SWITCH, **files, "resolv.conf": resolv_conf(plan)}
    folder = names.etc("a")
    for name, text in files.items():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="ascii")


def resolv_conf(plan: Blueprint) -> str:
    """a's resolv.conf."""
    lines = [f"nameserver {resolver.address}" for resolver in plan.resolvers]
    lines += [f"search {' '.join(plan.search)}"] if plan.search else []
    lines += [f"options ndots:{plan.ndots}"] if plan.ndots != 1 else []
    return "".join(f"{line}\n" for line in lines)


def start(names: LabNames, plan: Blueprint, places: Places, command: Command) -> list[Waiting]:
    """Start all of them; call what is returned, with a deadline, to wait until they serve.

    command: runs a program in a node. Raises LabError if a program is missing and wanted.
    """
    serving = [resolver for resolver in plan.resolvers if not (resolver.silent or resolver.absent)]
    if not serving:
        return []
    zones = [_zone(plan, resolver, places, number) for number, resolver in enumerate(serving)]
    words = python_module("preflight.lab.fake_servers", "resolver", json.dumps(zones))
    waiting = [_started(names, "resolver", command(ROUTER, words), "listening on ", len(zones))]
    for number, resolver in enumerate(serving):
        name = _forwarder(plan, resolver)
        if name:
            words = _FORWARDERS[name](names, resolver, _BEHIND + number)
            waiting.append(_started(names, f"{name}-{number}", command(ROUTER, words), _READY[name], 1))
    return waiting


def _forwarder(plan: Blueprint, resolver: ResolverPlan) -> ForwarderName:
    """Which program is in front of a resolver. A forwarder hides that an answer is too long, and may hide a refusal."""
    if resolver.truncated or resolver.rcode or resolver.drops:
        return ""
    return plan.forwarder or ("dnsmasq" if resolver.stripping else "")


def _zone(plan: Blueprint, resolver: ResolverPlan, places: Places, number: int) -> dict[str, object]:
    answers = {name: [places.text(each) for each in addresses] for name, addresses in resolver.answers.items()}
    zone: dict[str, object] = {"answers": answers, "truncated": resolver.truncated, "rcode": resolver.rcode}
    zone["drops"] = resolver.drops
    if _forwarder(plan, resolver):
        return {**zone, "address": "127.0.0.1", "port": _BEHIND + number}
    return {**zone, "address": resolver.address, "port": DNS_PORT}


def _dnsmasq(names: LabNames, resolver: ResolverPlan, upstream_port: int) -> list[str]:
    """dnsmasq as home routers run it. stripping: it refuses private addresses from upstream (rebind protection)."""
    words = [processes.program("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"]
    words += ["--pid-file=", "--user=root", "--log-facility=-", "--bind-interfaces"]
    words += [f"--listen-address={resolver.address}", f"--server=127.0.0.1#{upstream_port}", "--cache-size=0"]
    return [*words, "--stop-dns-rebind"] if resolver.stripping else words


def _unbound(names: LabNames, resolver: ResolverPlan, upstream_port: int) -> list[str]:
    """unbound as firewalls run it: it asks others, and validates nothing. stripping: as its manual advises."""
    private = "".join(f"  private-address: {prefix}\n" for prefix in _PRIVATE) if resolver.stripping else ""
    config = names.directory / f"unbound-{upstream_port}.conf"
    config.write_text(_UNBOUND.format(address=resolver.address, port=upstream_port, private=private), encoding="ascii")
    return [processes.program("unbound"), "-d", "-c", str(config)]


_FORWARDERS: Mapping[str, Callable[[LabNames, ResolverPlan, int], list[str]]] = {
    "dnsmasq": _dnsmasq,
    "unbound": _unbound,
}
_READY: Mapping[str, str] = {"dnsmasq": "started, version", "unbound": "start of service"}


def _started(names: LabNames, name: str, words: list[str], ready: str, times: int) -> Waiting:
    daemon = processes.start(name, words, mark=names.mark(name), log=names.directory / f"{name}.log")
    return lambda deadline: processes.wait_for_words(daemon, ready, times, deadline)
