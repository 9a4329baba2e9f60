"""Secrets and addresses: a known secret is in no output however it is written, and `--redact addresses` shows no place.

What is found is checked with the standard library's decoders, not with our own.
"""

import base64
import html as stdlib_html
import json
import os
import re
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Callable
from io import BytesIO
from ipaddress import ip_address, ip_network
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from preflight.evidence.bundle import make_bundle
from preflight.evidence.collect import Raw
from preflight.report import html, junit, markdown, openmetrics, sarif, text
from preflight.report import json as report_json
from preflight.report.model import Report
from preflight.report.pseudonyms import Pseudonyms
from preflight.report.redact import Redactor
from preflight.report.runbook_html import runbook_html

SECRET = "correct/horse+battery staple'\"<&>%41"
WRITINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "base64 of a header": lambda secret: "Basic " + base64.b64encode(f"user:{secret}".encode()).decode(),
    "base64, another phase": lambda secret: base64.b64encode(f"u:{secret}\n".encode()).decode(),
    "base64url without padding": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode().rstrip("="),
    "base64 in lines": lambda secret: base64.encodebytes(secret.encode() * 3).decode(),
    "hexadecimal": lambda secret: secret.encode().hex(),
    "hexadecimal with colons": lambda secret: secret.encode().hex(":").upper(),
    "a dump": lambda secret: secret.encode().hex(" ", 2),
    "percent-encoded": lambda secret: quote(secret, safe=""),
    "percent-encoded in lower case": lambda secret: "".join(f"%{byte:02x}" for byte in secret.encode()),
    "percent-encoded in part": lambda secret: secret.replace("%", "%25").replace("r", "%72"),
    "JSON": lambda secret: json.dumps({"token": secret}),
    "JSON escapes": lambda secret: "".join(f"\\u{ord(c):04X}" for c in secret),
    "JSON in JSON": lambda secret: json.dumps(json.dumps([secret])),
    "HTML": stdlib_html.escape,
    "a shell's word": shlex.quote,
    "Python's bytes": lambda secret: repr(secret.encode()),
    "wrapped": lambda secret: f"{secret[:9]}\n        {secret[9:20]}\n        {secret[20:]}",
}
RENDERERS: dict[str, Callable[[Report], str]] = {
    "text": lambda report: text.render(report, verbose=True),
    "markdown": markdown.render,
    "json": report_json.render,
    "junit": junit.render,
    "sarif": sarif.render,
    "openmetrics": openmetrics.render,
}


def report(said: str, target: str = "b") -> Report:
    """A report with the text in every field that another user can influence, whole and line by line."""
    result = {
        "id": f"control.health/{target}/round-trip", "check": "control.health", "category": "control",
        "target": target, "direction": "round-trip", "status": "fail", "code": "control.unhealthy",
        "message": f"it said {said}", "remedy": f"curl {said}", "measurements": {"said": said, said: 1},
        "evidence": [
            {"kind": "body", "summary": f"its body: {said}", "data": {said: said, "lines": said.split("\n")}},
            {"kind": "file", "summary": "x", "data": [[said]], "path": f"/tmp/{said}"},
        ],
    }  # fmt: skip
    return Report.model_validate(
        {
            "run": {
                "id": "5b1f2f4e-8c55-4d6e-9a3b-0123456789ab", "started_at": "2026-11-23T12:00:00Z",
                "duration_ms": 10.0, "exit_code": 1, "command": ["preflight", "all", said],
                "node": {"hostname": "node-a", "os": "Debian", "kernel": "6.1.0.10", "python": "3.11"},
                "overlay": {"product": "wireguard", "interface": "wg0", "mtu": 1420, "addresses": []},
            },
            "verdict": "fail",
            "summary": {"fail": 1},
            "diagnosis": [
                {"code": "control.unhealthy", "title": "x", "message": said, "target": target,
                 "direction": "round-trip", "explains": [result["id"]]}
            ],
            "results": [result],
        }
    )  # fmt: skip


def everything(document: str) -> str:
    """The document and what any reader may decode in it, to two levels, as one text."""
    found = [document]
    for _ in range(2):
        now = "\n".join(found)
        found += [unquote(now), stdlib_html.unescape(now), re.sub(r"\\u([0-9a-fA-F]{4})", _character, now)]
        found += [_decoded(run) for run in re.findall(r"[A-Za-z0-9+/_-]{16,}", now)]
        found += [_hex(run) for run in re.findall(r"(?:[0-9A-Fa-f]{2}[: ]?){12,}", now)]
    return "\n".join(found)


def _character(match: "re.Match[str]") -> str:
    return chr(int(match[1], 16))


def _decoded(run: str) -> str:
    plain = run.translate(str.maketrans("-_", "+/"))
    return " ".join(
        base64.b64decode(part + "=" * (-len(part) % 4)).decode("utf-8", "replace")
        for part in (plain[skip : skip + (len(plain) - skip) // 4 * 4] for skip in range(4))
    )


def _hex(run: str) -> str:
    digits = re.sub("[: ]", "", run)
    return bytes.fromhex(digits[: len(digits) & ~1]).decode("utf-8", "replace")


@pytest.mark.parametrize("format", RENDERERS)
@pytest.mark.parametrize("writing", WRITINGS)
def test_a_known_secret_is_in_no_output(writing: str, format: str) -> None:
    """Echoed in any writing, in any field: no reader of any output finds it, and none of its longer parts."""
    written = WRITINGS[writing](SECRET)
    rendered = RENDERERS[format](Redactor([SECRET]).report(report(f"<{written}>")))
    assert "[redacted]" in rendered or format == "openmetrics"
    found = everything(rendered)
    for part in (SECRET, SECRET[:14], SECRET[-14:], written):
        assert part not in found


def test_a_known_secret_is_in_no_file_of_a_bundle() -> None:
    """Neither in a document nor in raw evidence, nor in the name of a file."""
    said = "\n".join(write(SECRET) for write in WRITINGS.values())
    archive = make_bundle(report(said), [Raw("sockets.txt", said)], Redactor([SECRET]), addresses=False)
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        for member in tar:
            stream = tar.extractfile(member)
            assert stream is not None
            found = everything(stream.read().decode() + member.name)
            assert SECRET not in found, member.name
            assert SECRET[:14] not in found, member.name


EMPTY = report_json.render(report(""))


def test_a_sign_that_an_escape_takes_hides_nothing() -> None:
    """Hexadecimal of hexadecimal behind a letter: decoded with the digits before it, `5c` and `f` are a form feed."""
    secret = "\U000100000000001234\xce"
    written = secret.encode().hex().encode().hex()
    assert written not in report_json.render(Redactor([secret]).report(report(f" {written} ")))


@settings(max_examples=40, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(
    st.text(st.characters(min_codepoint=33, exclude_categories=["C", "Z"]), min_size=12, max_size=40).filter(
        lambda secret: len(set(secret)) > 6
    ),
    st.sampled_from(sorted(set(WRITINGS) - {"percent-encoded in part", "JSON escapes"})),
    st.sampled_from(sorted(set(WRITINGS) - {"percent-encoded in part", "JSON escapes"})),
    st.text(max_size=30),
)
def test_any_secret_in_any_two_writings_is_found(secret: str, inner: str, outer: str, around: str) -> None:
    """Random secrets, written in one way and that in another, in random surroundings: gone from the report.

    Not those that are a word of every report, which the search for them draws from the source.
    """
    assume(secret not in EMPTY)
    written = WRITINGS[outer](WRITINGS[inner](secret))
    rendered = report_json.render(Redactor([secret]).report(report(f"{around} {written} {around}")))
    assert secret not in json.dumps(json.loads(rendered), ensure_ascii=False)
    assert json.dumps(written)[1:-1] not in rendered


@settings(max_examples=40, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(st.text(max_size=200))
def test_a_report_without_secrets_is_left_as_it_is(said: str) -> None:
    """What holds no secret is not torn to pieces."""
    made = report(said.replace(":", "").replace("?", "").replace("&", ""))
    assert Redactor(["correct-horse-battery", "another-secret-000"]).report(made) == made


def test_half_a_megabyte_of_evil_evidence_takes_linear_work() -> None:
    """A long answer that looks like base64 and escapes everywhere is searched completely."""
    evil = {"a": "QUJDREVGR0g" * 6_000, "b": "%41%2542" * 8_000, "c": "-eyJaaaaaa" * 6_000, "d": "TOKEN" * 12_000}
    evil |= {"e": "1:" * 30_000, "f": "a-" * 30_000, "g": "1." * 30_000, "h": "\\u005c" * 8_000, "i": " " * 60_000}
    made = report("x")
    entry = made.results[0].evidence[0].model_copy(update={"data": {**evil, "end": SECRET}})
    result = made.results[0].model_copy(update={"evidence": (entry,)})
    clean = Redactor([SECRET], Pseudonyms(["some-host"])).report(made.model_copy(update={"results": (result,)}))
    assert clean.results[0].evidence[0].data["end"] == "[redacted]"
    assert clean.results[0].evidence[0].data["i"] == evil["i"]


def test_a_baseline_shows_no_secret_on_standard_error(tmp_path: Path) -> None:
    """An older report may hold text that is a secret today: the comparison shows what changed without it."""
    baseline = tmp_path / "before.json"
    baseline.write_text(report_json.render(report(f"hello {base64.b64encode(SECRET.encode()).decode()} {SECRET}")))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "preflight", "run", "host.clock", "-q", "--baseline", baseline],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "VOX_MESH_TOKEN": SECRET},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "control.unhealthy" in done.stderr
    assert "[redacted]" in done.stderr
    for hidden in (SECRET, SECRET[:14], base64.b64encode(SECRET.encode()).decode()[:20]):
        assert hidden not in done.stderr + done.stdout


PLACES = {
    "IPv4": ("10.66.0.2", "10.66.0.2:862", "10.66.0.2/24", "http://10.66.0.2/x", "addr_10.66.0.2", "010.066.000.002"),
    "IPv6": ("fd66:7::5054:ff:feab:cdef", "[fd66:7::5054:ff:feab:cdef]:862", "FD66:7:0:0:5054:FF:FEAB:CDEF",
             "fd66:7::5054:ff:feab:cdef: no answer", "fd66:7::5054:ff:feab:cdef."),
    "mapped": ("::ffff:10.66.0.2", "::ffff:0a42:0002", "64:ff9b::10.66.0.2"),
    "link-local": ("fe80::5054:ff:feab:cdef%eth0", "fe80::5054:ff:feab:cdef/64"),
    "reverse": ("2.0.66.10.in-addr.arpa", "0.66.10.in-addr.arpa",
                "f.e.d.c.b.a.e.f.f.f.0.0.4.5.0.5.0.0.0.0.0.0.0.0.7.0.0.0.6.6.d.f.ip6.arpa"),
    "MAC": ("52:54:00:ab:cd:ef", "52-54-00-AB-CD-EF", "5254.00ab.cdef", "[52:54:00:ab:cd:ef]"),
    "WireGuard": ("aGVsbG8gd29ybGQsIHRoaXMgaXMgYSBwcml2YXRlISE=",),
    "fingerprint": ("SHA256:aGVsbG8gd29ybGQsIHRoaXMgaXMgYSBwcml2YXRlISE",
                    "68:65:6C:6C:6F:20:77:6F:72:6C:64:2C:20:74:68:69"),
    "Tailscale": ("nodekey:68656c6c6f20776f726c642c2074686973206973206120707269766174652121",
                  "discokey:68656c6c6f207768"),
    "Nebula": ("b2a8d1c4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90",),
    "ZeroTier": ("8056c2e21c", "8056c2e21c000001"),
    "names": ("alice-laptop", "Alice-Laptop.corp.example", "alice-laptop.lan", "office",
              "db.corp.example", "corp.example"),
    "interfaces": ("wg-alice-laptop", "tun_alice-laptop", "alice-laptop.conf", "preflight-alice-laptop-0"),
}  # fmt: skip
HIDDEN = re.compile(
    r"10\.66\.0|66\.10\.in-addr|fd66|0a42|5054|abcd\.?ef|ab[-:]cd|f\.e\.d\.c|aGVsbG8|68656c6c|68:65:6c|b2a8d1c4|8056c2e21c"
    r"|alice|office|corp\.example",
    re.IGNORECASE,
)
NAMES = ("alice-laptop", "office.corp.example", "node-a")


@pytest.mark.parametrize("kind", PLACES)
def test_pseudonyms_leave_no_place_in_any_file(kind: str) -> None:
    """Addresses, keys, and names in every form are replaced in each file of a bundle, the names of files included."""
    said = "\n".join(f"x {place} y" for place in PLACES[kind])
    redactor = Redactor([], Pseudonyms(NAMES))
    page = runbook_html("control.unhealthy")  # the program's own words, whose examples have addresses
    assert page is not None
    archive = make_bundle(report(said, "alice-laptop"), [Raw("links.txt", said)], redactor, addresses=True)
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        for member in tar:
            stream = tar.extractfile(member)
            assert stream is not None
            shown = stream.read().decode().replace(page, "")
            assert not HIDDEN.search(re.sub(r'"sha256": "[0-9a-f]+"', "", shown)), member.name


def test_a_key_has_one_pseudonym_however_it_is_written() -> None:
    """WireGuard's tools print base64, its socket hexadecimal: the reader sees that it is one key, of a key's form."""
    key = bytes(range(32))
    pseudonyms = Pseudonyms()
    shown = pseudonyms.replace(f"{base64.b64encode(key).decode()} {key.hex()} nodekey:{key.hex()}")
    in_base64, in_hex, node = shown.split()
    assert base64.b64decode(in_base64).hex() == in_hex == node.removeprefix("nodekey:")


@pytest.mark.parametrize(
    "network",
    ["10.66.0.0/24", "10.66.0.0/16", "100.64.0.0/10", "192.168.7.64/26", "fd66::/64", "fd66::/48", "fd66::/112"],
)
def test_a_network_stays_a_network(network: str) -> None:
    """Its hosts are in its pseudonym, of the same length, and each has a different address."""
    inside = ip_network(network)
    hosts = [str(inside[number]) for number in range(1, 50)]
    learned = f"{inside[1]}/{inside.prefixlen} route {network} " + " ".join(hosts)
    pseudonyms = Pseudonyms()
    pseudonyms.learn([learned])
    address, _, route, *shown = pseudonyms.replace(learned).split()
    outside = ip_network(route)
    assert outside.prefixlen == inside.prefixlen
    assert outside != inside
    assert all(ip_address(host) in outside for host in (address.partition("/")[0], *shown))
    assert len(set(shown)) == len(hosts)


def test_networks_within_networks_stay_within_them() -> None:
    """A route that covers a peer still covers it, and one that does not, does not."""
    learned = "10.66.3.7/24 10.66.0.0/16 10.67.0.0/16 10.66.3.128/25 10.66.3.200 10.66.3.7 10.66.4.9 10.67.1.1"
    pseudonyms = Pseudonyms()
    pseudonyms.learn([learned])
    _, wide, other, half, upper, lower, sibling, stranger = pseudonyms.replace(learned).split()
    assert all(ip_address(each) in ip_network(wide) for each in (upper, lower, sibling))
    assert ip_address(stranger) in ip_network(other)
    assert ip_address(upper) in ip_network(half)
    assert ip_address(lower) not in ip_network(half)
    assert ip_network(half).subnet_of(ip_network(wide))  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [lambda n: f"10.{n >> 8 & 255}.{n & 255}.{n % 253 + 1}",
                                  lambda n: f"10.1.{n >> 8 & 255}.{n & 255}", lambda n: f"fd00:{n:x}::{n + 1:x}"],
                         ids=["networks", "hosts", "IPv6"])  # fmt: skip
def test_thousands_of_addresses_have_as_many_pseudonyms(make: Callable[[int], str]) -> None:
    """Two nodes under one pseudonym would be a wrong report."""
    pseudonyms = Pseudonyms()
    originals = {make(number) for number in range(1, 3000)}
    shown = [ip_address(pseudonyms.replace(address)) for address in sorted(originals)]
    assert len(set(shown)) == len(originals)


def test_a_thousand_mac_addresses_have_a_thousand_pseudonyms() -> None:
    """Beyond the 256 that are for documentation, locally administered ones follow."""
    pseudonyms = Pseudonyms()
    shown = [pseudonyms.replace(f"52:54:00:00:{n >> 8:02x}:{n & 255:02x}") for n in range(1000)]
    assert len(set(shown)) == 1000
    assert shown[0].startswith("00:00:5e:00:53:")


def test_what_tells_no_place_stays() -> None:
    """Loopback, groups, default routes, versions, times and counters mean the same on every machine."""
    plain = "127.0.0.1 ::1 0.0.0.0/0 ::/0 0.0.0.0 255.255.255.255 ff02::1 224.0.0.1 v1.2.3.4 12:30:45 1234567890 fail"
    plain += " 2026-11-23T12:00:00Z ff:ff:ff:ff:ff:ff 00:00:00:00:00:00 node control populi 1420 abcdefabcd fe80::/10"
    assert Pseudonyms(["control", "node", "alice-laptop"]).replace(plain) == plain
    loopback, link_local, older = map(ip_address, Pseudonyms().replace("127.0.0.77 fe80::1:2 169.254.9.9").split())
    assert (loopback.is_loopback, link_local.is_link_local, older.is_link_local) == (True, True, True)


@pytest.mark.parametrize(
    "written", ["gpu7-corp-example", "gpu7_corp_example", "GPU7-Corp-Example", "gpu7.corp-example"]
)
def test_a_full_name_in_an_id_tells_no_domain(written: str) -> None:
    """An id that is made of a host's full name has hyphens where that has dots."""
    shown = Pseudonyms(["gpu7.corp.example"]).replace(f"joined as preflight-{written}-0a1b2c3d")
    assert shown == "joined as preflight-host-1-0a1b2c3d"


@pytest.mark.parametrize("name", ["forward", "fail", "local", "reach.udp", "pass", "round-trip", "wireguard"])
def test_a_host_with_the_name_of_a_field_breaks_no_report(name: str) -> None:
    """A peer may be called anything: what is ours in a report stays."""
    made = report(f"{name} is silent", name)
    clean = Redactor([], Pseudonyms([name])).report(made)
    assert clean.results[0].direction == "round-trip"
    assert clean.results[0].check == "control.health"
    assert clean.diagnosis[0].explains == (clean.results[0].id,)


def test_pseudonyms_stay_the_same_over_rounds() -> None:
    """A `watch` learns names and networks as it goes, and what was given stays given."""
    pseudonyms, seen = Pseudonyms(), []
    for learned in ("10.66.0.2 alice-laptop", "10.66.0.0/16 10.66.0.2 10.66.9.9", "10.66.0.2/24 10.66.0.2"):
        pseudonyms.know(["alice-laptop"])
        pseudonyms.learn([learned])
        shown: Any = pseudonyms.replace(learned)
        seen.append(next(word for word in shown.split() if re.fullmatch(r"192\.0\.2\.\d+", word)))
    assert all(before == after for before, after in pairwise(seen))


def test_html_holds_no_secret() -> None:
    """The page with all writings at once."""
    said = "\n".join(write(SECRET) for write in WRITINGS.values())
    found = everything(html.render(Redactor([SECRET]).report(report(said))))
    assert SECRET not in found
    assert SECRET[:14] not in found
