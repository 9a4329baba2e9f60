"""The control URL: normalised as real clients do, explained where it cannot be used."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.proto.control.url import ControlUrl, ControlUrlError, parse_control_url, without_secrets

GOOD = [
    ("http://10.66.0.2:9847", "http://10.66.0.2:9847", 9847),
    ("  10.66.0.2:9847/ \n", "http://10.66.0.2:9847", 9847),
    ("10.66.0.2", "http://10.66.0.2", 80),
    ("https://control.example", "https://control.example", 443),
    ("HTTPS://Control.Example:8443//", "https://control.example:8443", 8443),
    ("http://[fd66::2]:9847/", "http://[fd66::2]:9847", 9847),
    ("http://[FD66:0::2]", "http://[fd66::2]", 80),
    ("[::ffff:10.66.0.2]:1", "http://10.66.0.2:1", 1),
    ("http://proxy.example/populi/", "http://proxy.example/populi", 80),
    ("müller.example", "http://xn--mller-kva.example", 80),
    ("c.overlay.:9847", "http://c.overlay.:9847", 9847),
    ("under_score.overlay", "http://under_score.overlay", 80),
    ("h:", "http://h", 80),
]

BAD = [
    ("", "empty"),
    ("  ", "empty"),
    ("ftp://10.66.0.2", "scheme"),
    ("://10.66.0.2", "scheme"),
    ("http:/10.66.0.2", "two slashes"),
    ("http://", "no host"),
    ("http:///path", "no host"),
    ("fd66::2", "brackets"),
    ("http://[fd66::2", "not an address"),
    ("http://[control]:1", "not an address"),
    ("http://[fe80::1%25wg0]:1", "zone"),
    ("10.66.0.300", "looks like an IPv4"),
    ("10.66.0", "looks like an IPv4"),
    ("0", "looks like an IPv4"),
    ("http://0x0a420002", "looks like an IPv4"),
    ("h:0", "port 0"),
    ("h:99999", "port"),
    ("h:http", "port"),
    ("http://user:pass@h", "user name"),
    ("http://h?token=1", "query"),
    ("http://h#x", "query"),
    ("http://h ost", "blank"),
    ("http://http://h:1", "twice"),
    ("http://https://h", "twice"),
    ("http://h:1,http://i:1", "several"),
    ("ws://h:1", "scheme"),
    ("http://h/a\nb", "blank"),
    ("*:9847", "not an address"),
    ("a..b", "not an address"),
    ("-a.example", "not an address"),
    (f"{'a' * 64}.example", "not an address"),
]


def refused(raw: str) -> ControlUrlError:
    """Why a URL cannot be used."""
    url = parse_control_url(raw)
    assert isinstance(url, ControlUrlError)
    return url


@pytest.mark.parametrize(("raw", "text", "port"), GOOD)
def test_normalises(raw: str, text: str, port: int) -> None:
    """Trim, add http://, strip trailing slashes; a port that is not written is the scheme's, never an invented one."""
    url = parse_control_url(raw)
    assert isinstance(url, ControlUrl)
    assert (str(url), url.port) == (text, port)


@pytest.mark.parametrize(("raw", "why"), BAD)
def test_explains_what_is_wrong(raw: str, why: str) -> None:
    """An operator learns which part of the URL to correct."""
    error = refused(raw)
    assert why in error.reason
    assert error.fault == {"user name": "secret", "query": "secret", "empty": "empty"}.get(why, "invalid")


@pytest.mark.parametrize(
    "raw", ["0.0.0.0", "http://0.0.0.0:9847", "[::]:9847", "::", "https://[::0]", "[::ffff:0.0.0.0]"]
)
def test_a_bind_address_is_no_destination(raw: str) -> None:
    """Bind-all hosts are distinguished from other mistakes: they have a separate finding code."""
    assert refused(raw).fault == "bind-all"


def test_the_same_url_elsewhere() -> None:
    """A line to paste names another host or port: the port is written, an IPv6 address is in brackets."""
    url = ControlUrl("https", "c.example", 443, "/populi", port_given=False)
    assert str(url.at("fd66::2")) == "https://[fd66::2]:443/populi"
    assert str(url.at(url.host, 9847)) == "https://c.example:9847/populi"


def test_a_password_in_the_url_is_not_repeated() -> None:
    """A secret must not reach a message by way of a complaint."""
    assert "hunter2" not in repr(refused("http://user:hunter2-hunter2@10.66.0.2"))


def test_the_text_as_written_is_kept_for_the_message() -> None:
    """An operator recognises the URL by what they wrote; a long one is cut."""
    assert str(refused("  h:99999\n")) == "h:99999"
    assert len(str(refused(f"{'a' * 500}.example"))) == 200


@pytest.mark.parametrize(
    ("raw", "hosts"),
    [
        ("http://H:9847", ("h",)),
        ("müller.example", ("xn--mller-kva.example", "müller.example")),
        ("[FD66:0::2]:1", ("fd66::2", "fd66:0::2")),
        ("http://laptop:99999", ("laptop",)),
        ("http://[fd66::2", ()),
        ("http://", ()),
    ],
)
def test_a_report_can_replace_the_host_in_every_spelling(raw: str, hosts: tuple[str, ...]) -> None:
    """`--redact addresses` must find the host in messages, which show the parsed URL, and in the command line."""
    assert parse_control_url(raw).hosts == hosts


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "no check is called 'http://u:p w/x@h'; did you mean 'x'?",
            "no check is called 'http://…@h'; did you mean 'x'?",
        ),
        ("u:p@h:1", "…@h:1"),
        ("extra argument (TOKEN@h)", "extra argument (…@h)"),
        ("http://h/x?token=1 is not", "http://h/x?… is not"),
        ("h?token=1", "h?…"),
        ("http://h#1", "http://h?…"),
        ("did you mean 'x'?", "did you mean 'x'?"),
    ],
)
def test_what_may_be_a_secret_is_left_out_of_a_quotation(text: str, shown: str) -> None:
    """A complaint quotes what was written without user info, query and fragment, and leaves plain sentences alone."""
    assert without_secrets(text) == shown


@given(st.text(max_size=60))
def test_any_text_is_a_url_or_a_clear_no(raw: str) -> None:
    """No input crashes, and what is normalised once stays as it is."""
    url = parse_control_url(raw)
    if isinstance(url, ControlUrl):
        assert parse_control_url(str(url)) == url


@pytest.mark.parametrize(
    ("raw", "meant"),
    [
        ("http://http://h:1", "http://h:1"),
        ("http://h:1, http://i:1", "http://h:1"),
        ("wss://h:1", "https://h:1"),
        ("http://h :1", "http://h:1"),
        ("http://fd66::2:9847", "http://[fd66::2]:9847"),
        ("http://fd66::2:1", "http://[fd66::2:1]"),
        ("ftp://h", "http://h"),
        ("tcp://10.66.0.3:9847", "http://10.66.0.3:9847"),
        ("wss://h/mesh", "https://h/mesh"),
    ],
)
def test_what_was_meant(raw: str, meant: str | None) -> None:
    """A guess that is asked for its health before anything is called right."""
    found = refused(raw).meant
    assert (None if found is None else str(found)) == meant


def test_a_query_is_shown_as_what_it_was() -> None:
    """Not as user info: an operator must recognise the place of the mistake."""
    assert str(refused("http://h:1/?token=s3cr3t")) == "http://h:1?…"


@pytest.mark.parametrize(
    ("raw", "problem", "meant"),
    [
        ("http://10.66.0.3:9847 # main", "comment", "http://10.66.0.3:9847"),
        ("http://10.66.0.3:9847  #s3cr3t", "comment", "http://10.66.0.3:9847"),
        ("http://${CONTROL_HOST}:9847", "variable", None),
        ("http://$CONTROL:9847", "variable", None),
        ("http://{{ control.host }}:9847", "variable", None),
        ("http://<CONTROL-HOST>:9847", "variable", None),
    ],
)
def test_what_an_environment_file_leaves_in_it(raw: str, problem: str, meant: str | None) -> None:
    """Comments and variables are for shells; other readers take them as they are."""
    error = parse_control_url(raw)
    assert isinstance(error, ControlUrlError)
    assert (error.problem, str(error.meant) if error.meant else None) == (problem, meant)
    assert problem in error.reason
    assert "s3cr3t" not in f"{error.written} {error.reason}"
