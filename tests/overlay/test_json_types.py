"""A daemon of another version may answer anything: values of another type are refused, absent ones are empty."""

import pytest

from preflight.overlay.json_types import count, endpoint, endpoint_in, number, table, text, texts


def test_what_is_absent_is_empty() -> None:
    """Fields come and go between versions."""
    assert (text(None), texts(None), table(None), count(None)) == ("", (), {}, None)


@pytest.mark.parametrize("read", [text, texts, number, table, count])
@pytest.mark.parametrize("value", [True, float("nan"), -1.5, object()])
def test_what_is_of_another_type_is_refused(read: object, value: object) -> None:
    """Never taken for something else, so that no report shows it."""
    if read is number and value == -1.5:
        assert number(value) == -1.5
        return
    assert callable(read)
    with pytest.raises(TypeError):
        read(value)


def test_endpoints() -> None:
    """An IPv6 address takes brackets; a port may be text, but must be one."""
    assert endpoint("10.0.0.1", "9993") == endpoint_in("10.0.0.1/9993", "/") == "10.0.0.1:9993"
    assert endpoint("fd00::1", 4242) == endpoint_in("[fd00::1]:4242") == "[fd00::1]:4242"
    with pytest.raises(ValueError, match="no port"):
        endpoint("10.0.0.1", 65536)
