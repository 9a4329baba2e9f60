"""The files of `/proc/net` that count, as plain numbers. A line of an unknown shape gives none."""

from preflight.model.counters import Device, UdpSocket


def parse_pairs(text: str) -> dict[str, int]:
    """`snmp` and `netstat`: pairs of lines, names above values, both after the protocol (`Ip: InReceives …`)."""
    lines = text.splitlines()
    counters: dict[str, int] = {}
    for names, values in zip(lines[::2], lines[1::2], strict=False):
        group, *keys = names.split() or [""]
        same, *numbers = values.split() or [""]
        if group == same and group.endswith(":"):
            shown = zip(keys, numbers, strict=False)
            counters.update((f"{group[:-1]}.{key}", int(number)) for key, number in shown if _is_number(number))
    return counters


def parse_lines(text: str) -> dict[str, int]:
    """`snmp6`: a name and a value on each line; `Ip6InReceives` becomes `Ip6.InReceives`."""
    rows = (line.split() for line in text.splitlines())
    return {_dotted(row[0]): int(row[1]) for row in rows if len(row) == 2 and _is_number(row[1])}


def _dotted(name: str) -> str:
    group, six, rest = name.partition("6")
    return f"{group}{six}.{rest}" if six else name


def parse_devices(text: str) -> dict[str, Device]:
    """`dev`: after two lines of headings, an interface on each line; eight columns received, then eight sent."""
    devices: dict[str, Device] = {}
    for line in text.splitlines()[2:]:
        name, _, rest = line.partition(":")
        columns = rest.split()
        if len(columns) >= 16 and all(map(_is_number, columns)):
            _, received, _, lost, _, _, _, _, _, sent, errors, dropped, *_ = map(int, columns)
            devices[name.strip()] = Device(received, lost, sent, errors, dropped)
    return devices


def parse_sockets(text: str) -> list[UdpSocket]:
    """`udp` and `udp6`: a socket on each line, addresses and queues in hexadecimal digits."""
    sockets = []
    for line in text.splitlines()[1:]:
        columns = line.split()
        if len(columns) < 13 or not _is_number(columns[-1]):
            continue
        try:
            port = int(columns[1].rpartition(":")[2], 16)
            waiting = int(columns[4].rpartition(":")[2], 16)
        except ValueError:
            continue
        sockets.append(UdpSocket(port, waiting, int(columns[-1]), int(columns[7]) if _is_number(columns[7]) else 0))
    return sockets


def _is_number(text: str) -> bool:
    return text.isascii() and text.removeprefix("-").isdigit()
