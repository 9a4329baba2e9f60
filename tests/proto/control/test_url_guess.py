"""What a wrong URL was meant to say."""

import pytest

from preflight.proto.control.url import ControlUrlError, parse_control_url


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("http://10.66.0.3:9847/v1/v1", "http://10.66.0.3:9847"),
        ("'http//10.66.0.3:9847/health'", "http://10.66.0.3:9847"),
        ("http:\\\\10.66.0.3:9847", "http://10.66.0.3:9847"),
        ("http://10.66.0.3:9847\u200b", "http://10.66.0.3:9847"),
        ("\ufeffhttps://control.mesh", "https://control.mesh"),
        ("http://10.66.0.3:9847:9847", "http://10.66.0.3:9847"),
        ("http://10.66.0.3\uff1a9847", "http://10.66.0.3:9847"),
        ("http://[fd66::3:9847", "http://[fd66::3]:9847"),
        ("http://fd66::3]:9847/mesh", "http://[fd66::3]:9847/mesh"),
        ("[control](http://10.66.0.3:9847)", "http://10.66.0.3:9847"),
        ("curl http://10.66.0.3:9847/health", "http://10.66.0.3:9847"),
        ("http://10.66.00.3:9847", None),
        ("http://$HOST:9847", None),
    ],
)
def test_what_was_meant(written: str, meant: str | None) -> None:
    """Several mistakes at once too; and nothing where nothing shows it."""
    url = parse_control_url(written)
    assert isinstance(url, ControlUrlError)
    assert (str(url.meant) if url.meant else None) == meant


def test_a_password_is_in_no_guess() -> None:
    """Where a secret ends cannot be known for certain."""
    for written in ("x http://u:s3cr3t@h:1/ y", "[a](http://u:s3cr3t@h:1)", "http://h:1:1/?token=s3cr3t"):
        url = parse_control_url(written)
        assert isinstance(url, ControlUrlError)
        assert "s3cr3t" not in f"{url!r} {url}"
