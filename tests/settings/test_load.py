"""Settings: precedence, and mistakes named with file, line and the nearest key."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from preflight.api import Peer
from preflight.proto.control.url import ControlUrl, ControlUrlError
from preflight.settings.load import Options, load
from preflight.settings.reading import SettingsError

WHOLE = """\
node: {id: node-a, labels: [pool=infer]}
peers:
  - {address: 10.66.0.2, name: b, responder: 862, agent_id: "2"}
control: {url: "http://10.66.0.2:9847", scope_id: my-cluster, token_file: token, submitter_token_file: submit,
          ca_file: ca.pem}
responder: {key_file: responder.key, agent_id: "1"}
overlay: {interface: wg0, prefixes: [10.66.0.0/24]}
checks: {skip: ["udp.nat-timeout"], third_party: true}
thresholds: {loss_percent: 1.0, jitter_ms: 30, rtt_ms: {interactive: 150}, stale_ms: 90000}
report: {redact: [addresses]}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("bearer-of-the-node\n")
    (tmp_path / "submit").write_text("bearer-of-a-submitter\n")
    (tmp_path / "responder.key").write_text("0123456789abcdef\n")
    path = tmp_path / "preflight.yaml"
    path.write_text(WHOLE)
    return path


def test_the_whole_file_of_the_contract_is_read(config: Path) -> None:
    """Every key that the contract documents is understood, and paths are relative to the file."""
    settings = load(Options(config=config), {})
    assert settings.peers == (Peer("10.66.0.2", "b", 862, "2"),)
    assert settings.node.id == "node-a"
    assert settings.control.ca_file == config.parent / "ca.pem"
    assert settings.secrets.token is not None
    assert settings.secrets.token.get_secret_value() == "bearer-of-the-node"
    assert settings.secrets.responder_key == b"0123456789abcdef"
    assert settings.report.redact == ("addresses",)


def test_nobody_outside_is_asked_by_default(tmp_path: Path) -> None:
    """A run without settings for it sends nothing to any STUN server; hellos and the slow steps have their defaults."""
    (tmp_path / "preflight.yaml").write_text("node: {id: a}\n")
    settings = load(Options(config=tmp_path / "preflight.yaml"), {})
    assert settings.stun.servers == ()
    assert (settings.responder.port, settings.responder.hellos) == (862, True)
    assert settings.checks.nat_silence_s == (25.0, 60.0, 120.0)


def test_no_secret_shows_in_a_representation(config: Path) -> None:
    """A settings object that ends in a log or a traceback must not carry credentials along."""
    shown = repr(load(Options(config=config), {}))
    assert "bearer-of" not in shown
    assert "0123456789abcdef" not in shown


@pytest.mark.parametrize(
    ("options", "environ", "url", "source"),
    [
        (Options(control_url="http://o"), {"VOX_MESH_CONTROL_ADDR": "x"}, "http://o", "--control-url"),
        (Options(), {"VOX_MESH_CONTROL_ADDR": "x", "PREFLIGHT_CONTROL_URL": "p"}, "http://p", "PREFLIGHT_CONTROL_URL"),
        (
            Options(),
            {"VOX_MESH_CONTROL_ADDR": "x", "VOX_ORCHESTRATOR_MESH_CONTROL_URL": "y"},
            "http://y",
            "VOX_ORCHESTRATOR_MESH_CONTROL_URL",
        ),
        (Options(), {"VOX_MESH_CONTROL_ADDR": "x"}, "http://x", "VOX_MESH_CONTROL_ADDR"),
        (Options(), {"VOX_MESH_CONTROL_ADDR": " "}, "http://10.66.0.2:9847", None),
        # Real workers pass over a server's bind address to the next source.
        (
            Options(),
            {"VOX_ORCHESTRATOR_MESH_CONTROL_URL": "http://0.0.0.0:9847", "VOX_MESH_CONTROL_ADDR": "x"},
            "http://x",
            "VOX_MESH_CONTROL_ADDR",
        ),
        (Options(), {"VOX_MESH_CONTROL_ADDR": "http://[::]:9847"}, "http://10.66.0.2:9847", None),
        (Options(control_url="http://0.0.0.0"), {"VOX_MESH_CONTROL_ADDR": "x"}, "http://0.0.0.0", "--control-url"),
    ],
)
def test_the_strongest_source_of_the_control_url_wins(
    config: Path, options: Options, environ: dict[str, str], url: str, source: str | None
) -> None:
    """Options beat environment beats file, and the one in use is named."""
    settings = load(replace(options, config=config), environ)
    assert str(settings.control.url) == url
    assert settings.control_url_source == (source or str(config))


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("", None),
        ("control: {url: ' '}\n", ControlUrlError("", "it is empty", "empty")),
        ("control: {url: 10.66.0.3/}\n", ControlUrl("http", "10.66.0.3", 80, port_given=False)),
        (
            "control: {url: 'h:99999'}\n",
            ControlUrlError(
                "h:99999",
                "its port is not a number from 1 to 65535",
                hosts=("h",),
                problem="port",
                meant=ControlUrl("http", "h", 9847),
            ),
        ),
    ],
)
def test_the_control_url_is_parsed_once(tmp_path: Path, text: str, url: ControlUrl | ControlUrlError | None) -> None:
    """What reads the settings finds a URL, or why there is none: nothing parses it again by other rules."""
    path = tmp_path / "preflight.yaml"
    path.write_text(text)
    control = load(Options(config=path), {}).control
    assert control.url == url
    assert control.usable_url == (url if isinstance(url, ControlUrl) else None)
    assert pickle.loads(pickle.dumps(control)) == control  # it is sent to the processes of plugins


@pytest.mark.parametrize("in_file", ["", "control: {url: ' '}\n", "control: {url: 'http://0.0.0.0'}\n"])
def test_a_bind_address_alone_is_told(tmp_path: Path, in_file: str) -> None:
    """Where no source has a better one, the mistake is not passed over in silence."""
    path = tmp_path / "preflight.yaml"
    path.write_text(in_file)
    settings = load(Options(config=path), {"VOX_MESH_CONTROL_ADDR": "http://0.0.0.0:9847"})
    assert str(settings.control.url) == "http://0.0.0.0:9847"
    assert settings.control_url_source == "VOX_MESH_CONTROL_ADDR"


def test_a_control_url_with_a_secret_is_shown_nowhere(tmp_path: Path) -> None:
    """As an option it is the caller's mistake; anywhere else a finding about this node, which repeats nothing of it."""
    url = "http://user:hunter2-hunter2@h"
    path = tmp_path / "preflight.yaml"
    path.write_text(f"control:\n  url: {url}\n")
    with pytest.raises(SettingsError, match="a user name or a password") as caught:
        load(Options(control_url=url), {})
    assert str(caught.value).startswith("--control-url")
    assert "hunter2" not in str(caught.value)
    for options, environ in ((Options(config=path), {}), (Options(), {"VOX_MESH_CONTROL_ADDR": url})):
        with pytest.raises(SettingsError, match="a user name or a password") as caught:
            load(options, environ)
        assert "hunter2" not in str(caught.value)
        settings = load(replace(options, reports_url=True), environ)
        found = settings.control.url
        assert isinstance(found, ControlUrlError)
        assert (found.fault, found.problem, str(found.meant)) == ("secret", "password", "http://h")
        assert "hunter2" not in f"{settings}{found!r}"
        assert settings.control.usable_url is None


def test_workers_pass_over_a_bind_address(tmp_path: Path) -> None:
    """A server's bind address in the first variable hides no good URL, and alone it is what is found."""
    path = tmp_path / "preflight.yaml"
    path.write_text("control: {url: 'http://10.66.0.4:9847'}\n")
    first, second = "VOX_ORCHESTRATOR_MESH_CONTROL_URL", "VOX_MESH_CONTROL_ADDR"
    both = load(Options(), {first: "http://0.0.0.0:9847", second: "10.66.0.3:9847"})
    assert (str(both.control.url), both.control_url_source) == ("http://10.66.0.3:9847", second)
    filed = load(Options(config=path), {first: "http://[::]:9847"})
    assert (str(filed.control.url), filed.control_url_source) == ("http://10.66.0.4:9847", str(path))
    alone = load(Options(), {first: "http://0.0.0.0:9847"})
    assert isinstance(alone.control.url, ControlUrlError)
    assert alone.control_url_source == first


def test_what_a_stronger_place_hides_is_known(tmp_path: Path) -> None:
    """A URL that differs may be the right one; the same one again, or one that cannot be used, decides nothing."""
    path = tmp_path / "preflight.yaml"
    path.write_text("control: {url: 'http://10.66.0.4:9847'}\n")
    variable = "VOX_MESH_CONTROL_ADDR"
    hidden = load(Options(config=path), {variable: "10.66.0.3:9847"}).control_url_rivals
    assert [(rival.source, str(rival.url)) for rival in hidden] == [(str(path), "http://10.66.0.4:9847")]
    assert load(Options(config=path), {variable: "http://10.66.0.4:9847/"}).control_url_rivals == ()
    assert load(Options(config=path, control_url="http://10.66.0.3:9847"), {}).control_url_rivals == ()


def test_missing_files_are_named(tmp_path: Path) -> None:
    """A file that is not there is named, whichever it is."""
    with pytest.raises(SettingsError, match="no such file"):
        load(Options(config=tmp_path / "none.yaml"), {})
    path = tmp_path / "preflight.yaml"
    path.write_text("control: {token_file: token}\n")
    with pytest.raises(SettingsError, match=r"control.token_file: .*token: no such file"):
        load(Options(config=path), {})


def test_a_short_key_is_refused_without_showing_it(tmp_path: Path) -> None:
    """A key that can be guessed is refused; the message says how to make one."""
    (tmp_path / "k").write_text("hunter2\n")
    path = tmp_path / "preflight.yaml"
    path.write_text("responder: {key_file: k}\n")
    with pytest.raises(SettingsError) as caught:
        load(Options(config=path), {})
    assert "at least 16" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_bootstrap_token_is_not_spent_without_a_place_for_what_it_buys(tmp_path: Path) -> None:
    """The exchange is good for one time: without --credentials-out the credential would be lost."""
    token = tmp_path / "bootstrap"
    token.write_text("one-time\n")
    with pytest.raises(SettingsError, match="--credentials-out"):
        load(Options(enroll=True, bootstrap_token_file=token), {})
    with pytest.raises(SettingsError, match="--enroll"):
        load(Options(bootstrap_token_file=token), {})
    # Without --enroll a token in the environment is left alone.
    assert load(Options(), {"VOX_MESH_BOOTSTRAP_TOKEN": "one-time"}).enrolment is None


def test_twin_peers_are_refused(tmp_path: Path) -> None:
    """Two peers of one name would share results."""
    with pytest.raises(SettingsError, match="two peers are called b"):
        load(Options(peers=("10.0.0.1=b", "10.0.0.2=b")), {})
    with pytest.raises(SettingsError, match=r"two peers have the address 10\.0\.0\.1"):
        load(Options(peers=("10.0.0.1=a", "10.0.0.1=b")), {})


def test_a_home_that_may_not_be_read_has_no_settings_for_us(tmp_path: Path) -> None:
    """`sudo -u` keeps another user's HOME: that must not cause a traceback."""
    import subprocess
    import sys

    program = (
        "import os, sys\n"
        "from preflight.settings.load import find_config\n"
        "if os.geteuid() == 0:\n    os.setresuid(65534, 65534, 65534)\n"
        "print(find_config({'HOME': sys.argv[1]}))\n"
    )
    home = tmp_path / "home"
    (home / ".config").mkdir(parents=True)
    home.chmod(0o000)
    try:
        done = subprocess.run(
            [sys.executable, "-c", program, str(home)], cwd="/", capture_output=True, text=True, check=False
        )
    finally:
        home.chmod(0o700)
    assert (done.stdout, done.stderr) == ("None\n", "")
