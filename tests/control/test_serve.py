"""The process: ready when it says so, gone when asked, clear when it cannot, and honest about its set-up."""

import json
import os
import signal
import socket
import sqlite3
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import jwt
import pytest
import trustme
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization

from preflight.cli.control_plane import _default_database, control_plane

if TYPE_CHECKING:
    from tests.control.conftest import StartServer

MESH = {"VOX_MESH_TOKEN": "mesh-token-of-the-tests"}
JOIN = {"id": "a", "capabilities": {}, "version": "1", "last_seen_unix_ms": 0}


def refused(tmp_path: Path, *options: str, environ: dict[str, str] | None = None) -> str:
    """Run a `serve` that must not start; its one sentence."""
    database = () if "--db" in options else ("--db", str(tmp_path / "x.db"))
    variables: dict[str, str | None] = {name: None for name in os.environ if name.startswith(("VOX_", "PREFLIGHT_"))}
    result = CliRunner().invoke(
        control_plane, ["serve", *database, *options], env={**variables, **(environ or {})}, catch_exceptions=False
    )
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (sentence,) = [line for line in result.stderr.splitlines() if line.startswith("preflight control-plane: ")]
    assert "Traceback" not in result.stderr
    return sentence


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_answers_when_it_says_so_and_goes_when_told(start_server: "StartServer", number: signal.Signals) -> None:
    """The first request after `listening on` is answered; the exit code of a stop is 0."""
    server = start_server(MESH)
    assert httpx.get(f"{server.url}/health").status_code == 200
    assert server.url.startswith("http://127.0.0.1:")
    assert server.stop(number) == 0
    assert "Traceback" not in server.log()


def test_it_listens_on_ipv6(start_server: "StartServer") -> None:
    """[::1]:PORT, and the URL has brackets too."""
    server = start_server(MESH, "--bind", "[::1]:0")
    assert server.url.startswith("http://[::1]:")
    assert httpx.get(f"{server.url}/health").status_code == 200


def test_it_listens_on_an_interface_by_name(start_server: "StartServer") -> None:
    """lo represents its addresses, each on a separate line."""
    server = start_server(MESH, "--bind", "lo:0")
    assert httpx.get(f"{server.url}/health").status_code == 200


def test_state_survives_a_restart(start_server: "StartServer") -> None:
    """Registry state is in memory at the real server; here it is not."""
    server = start_server(MESH)
    with server.client("mesh") as client:
        joined = client.post("/v1/populi/join", json=JOIN).json()
    assert server.stop() == 0
    server.start()
    with server.client("mesh") as client:
        assert client.get("/v1/populi/nodes").json()["nodes"] == [joined]


def test_a_jwt_is_refused_again_after_a_restart(start_server: "StartServer") -> None:
    """The replay guard is on disk."""
    secret = "a-secret-of-the-tests-with-more-than-32-bytes"
    token = jwt.encode({"role": "worker", "jti": "once", "exp": int(time.time()) + 300}, secret)
    server = start_server({"VOX_MESH_JWT_HMAC_SECRET": secret})
    headers = {"authorization": f"Bearer {token}"}
    assert httpx.get(f"{server.url}/v1/populi/nodes", headers=headers).status_code == 200
    server.kill()
    server.start()
    assert httpx.get(f"{server.url}/v1/populi/nodes", headers=headers).status_code == 401


@pytest.mark.parametrize("bind", ["", "nonsense", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:65536", ":80", "nobody0:80"])
def test_a_bind_address_that_is_none_is_named(tmp_path: Path, bind: str) -> None:
    """With what would be one."""
    assert "127.0.0.1:9847" in refused(tmp_path, "--bind", bind) or "interface" in refused(tmp_path, "--bind", bind)


@pytest.mark.parametrize("option", ["--bind", "--metrics-bind"])
def test_a_port_in_use_is_named(tmp_path: Path, option: str) -> None:
    """It also says how to find what has it; nothing is created."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        options = [option, f"127.0.0.1:{port}"] + (["--bind", "127.0.0.1:0"] if option != "--bind" else [])
        sentence = refused(tmp_path, *options)
    assert f"127.0.0.1:{port}" in sentence
    assert "ss -ltnp" in sentence


def test_an_address_of_another_machine_is_named(tmp_path: Path) -> None:
    """The overlay is down: that is the hint."""
    assert "overlay" in refused(tmp_path, "--bind", "192.0.2.1:9847")


def test_a_bad_database_is_named(tmp_path: Path) -> None:
    """No database, no directory, no permission: one sentence each."""
    notes = tmp_path / "notes"
    notes.write_text("notes " * 1000)
    assert "not an SQLite database" in refused(tmp_path, "--bind", "127.0.0.1:0", "--db", str(notes))
    assert "does not exist" in refused(tmp_path, "--bind", "127.0.0.1:0", "--db", str(tmp_path / "no" / "x.db"))
    assert "is a directory" in refused(tmp_path, "--bind", "127.0.0.1:0", "--db", str(tmp_path))
    assert "cannot be opened" in refused(tmp_path, "--bind", "127.0.0.1:0", "--db", "/proc/self/comm/x")


def test_contradictions_are_named(tmp_path: Path) -> None:
    """A key without certificate, an unknown fault, a broken settings file, a missing secret."""
    assert "--tls-cert and --tls-key" in refused(tmp_path, "--tls-key", "x")
    assert "heartbeat-500" in refused(tmp_path, "--fault", "gremlins")
    settings = tmp_path / "preflight.yaml"
    settings.write_text("control_plane: {tokn_file: x}\n")
    assert "token_file" in refused(tmp_path, "--config", str(settings))
    settings.write_text("control_plane: {token_file: missing}\n")
    assert "no such file" in refused(tmp_path, "--config", str(settings))
    assert "no such file" in refused(tmp_path, "--config", str(tmp_path / "no.yaml"))


def test_secrets_come_from_the_settings_file(start_server: "StartServer", tmp_path: Path) -> None:
    """Paths in it are relative to it."""
    (tmp_path / "token").write_text("mesh-token-of-the-tests\n")
    settings = tmp_path / "preflight.yaml"
    settings.write_text("control_plane: {token_file: token, scope_id: cluster}\n")
    server = start_server({}, "--config", str(settings))
    with server.client("mesh") as client:
        assert client.post("/v1/populi/join", json=JOIN).status_code == 403
        assert client.post("/v1/populi/join", json={**JOIN, "scope_id": "cluster"}).status_code == 200


def test_it_speaks_tls(start_server: "StartServer", tmp_path: Path) -> None:
    """https with the given chain, at least TLS 1.2; plain HTTP gets no answer."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    certificate.private_key_pem.write_to_path(key)
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(chain, append=True)
    server = start_server(MESH, "--tls-cert", str(chain), "--tls-key", str(key))
    assert server.url.startswith("https://")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    assert httpx.get(f"{server.url}/health", verify=context).text == "ok\n"
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{server.url}/health".replace("https", "http"))
    assert server.stop() == 0


def test_bad_tls_files_are_named(tmp_path: Path) -> None:
    """Missing, no PEM, of two different pairs, encrypted."""
    first, second = trustme.CA().issue_cert("a"), trustme.CA().issue_cert("a")
    chain, key, other = tmp_path / "chain.pem", tmp_path / "key.pem", tmp_path / "other.pem"
    first.cert_chain_pems[0].write_to_path(chain)
    first.private_key_pem.write_to_path(key)
    second.private_key_pem.write_to_path(other)

    def sentence(certificate: Path, private: Path) -> str:
        files = ("--tls-cert", str(certificate), "--tls-key", str(private))
        return refused(tmp_path, "--bind", "127.0.0.1:0", *files)

    assert "does not belong" in sentence(chain, other)
    assert "cannot be read" in sentence(tmp_path / "missing", key)
    (tmp_path / "text").write_text("no PEM")
    assert "not a PEM" in sentence(tmp_path / "text", key)
    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    protection = serialization.BestAvailableEncryption(b"x")
    (tmp_path / "locked").write_bytes(
        loaded.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)
    )
    assert "passphrase" in sentence(chain, tmp_path / "locked")


def test_it_warns_of_what_is_dangerous(start_server: "StartServer") -> None:
    """Open, and reachable from everywhere in clear text."""
    server = start_server({}, "--bind", "0.0.0.0:0")
    warnings = [line["event"] for line in map(json.loads, server.log().splitlines()) if line["level"] == "warning"]
    assert any("no secret is set" in warning for warning in warnings)
    assert any("in clear text" in warning for warning in warnings)


def test_it_does_not_warn_without_reason(start_server: "StartServer") -> None:
    """Loopback and a bearer: nothing to say; and a heartbeat is not worth a line."""
    server = start_server(MESH)
    with server.client("mesh") as client:
        client.post("/v1/populi/join", json=JOIN)
        for _ in range(5):
            client.post("/v1/populi/heartbeat", json=JOIN)
    assert [json.loads(line)["event"] for line in server.log().splitlines()] == ["starting", "joined"]


def test_metrics_have_an_address_of_their_own(start_server: "StartServer") -> None:
    """Requests by route, nodes and commits; not on the API's address; unknown paths make no series."""
    server = start_server(MESH, "--metrics-bind", "127.0.0.1:0")
    with server.client("mesh") as client:
        client.post("/v1/populi/join", json=JOIN)
        client.get("/a-path-that-somebody-made-up")
        assert client.get("/metrics").status_code == 404
    metrics = server.metrics()
    assert 'populi_http_requests_total{method="POST",route="/v1/populi/join",status="200"} 1.0' in metrics
    assert "populi_nodes 1.0" in metrics
    assert "populi_commit_writes_count 1.0" in metrics
    assert "made-up" not in metrics


def test_the_rate_limit_says_when_to_come_back(start_server: "StartServer") -> None:
    """429 with Retry-After once the burst is used up, before the bearer is looked at."""
    limit = {"VOX_MESH_HTTP_RATE_LIMIT": "1", "VOX_MESH_HTTP_RATE_LIMIT_PER_SEC": "1"}
    server = start_server({**MESH, **limit, "VOX_MESH_HTTP_RATE_LIMIT_BURST": "5"})
    with server.client() as client:
        answers = [client.get("/v1/populi/nodes") for _ in range(50)]
    assert [answer.status_code for answer in answers[:5]] == [401] * 5
    throttled = [answer for answer in answers if answer.status_code == 429]
    assert len(throttled) > 30
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in throttled)
    assert all(answer.headers["x-populi-feature"] for answer in throttled)


def test_a_body_cap_can_be_set(start_server: "StartServer") -> None:
    """At the cap it is taken, a byte more is 413."""
    server = start_server({**MESH, "VOX_MESH_HTTP_MAX_BODY_BYTES": "2048"})
    with server.client("mesh") as client:
        for size, status in ((2048, 404), (2049, 413)):
            body = b'{"id": "' + b"x" * (size - 10) + b'"}'
            answer = client.post("/v1/populi/leave", content=body, headers={"content-type": "application/json"})
            assert answer.status_code == status


def test_a_file_that_cannot_be_written_is_503_until_it_can(start_server: "StartServer") -> None:
    """Reads go on, writes say when to come back, and nothing has to be restarted."""
    server = start_server(MESH)
    holder = sqlite3.connect(server.database, isolation_level=None)
    with server.client("mesh") as client:
        holder.execute("BEGIN IMMEDIATE")
        answer = client.post("/v1/populi/join", json=JOIN)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert client.get("/v1/populi/nodes").status_code == 200
        holder.execute("ROLLBACK")
        assert client.post("/v1/populi/join", json=JOIN).status_code == 200
    holder.close()


def test_it_finishes_what_it_began(start_server: "StartServer") -> None:
    """A request that is under way when the stop comes gets its answer, and what it wrote stays."""
    server = start_server({})
    url = httpx.URL(server.url)
    body = json.dumps(JOIN).encode()
    head = b"POST /v1/populi/join HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
    with socket.create_connection((url.host, url.port or 0), timeout=10) as connection:
        connection.sendall(head + f"Content-Length: {len(body)}\r\n\r\n".encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 100")  # it has begun
        assert server.process
        server.process.send_signal(signal.SIGTERM)
        connection.sendall(body)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    assert server.stop() == 0
    server.start()
    with server.client() as client:
        assert len(client.get("/v1/populi/nodes").json()["nodes"]) == 1


def test_the_default_database_is_where_state_belongs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd's state directory first, then the user's."""
    monkeypatch.setenv("STATE_DIRECTORY", f"{tmp_path}:/other")
    assert _default_database() == tmp_path / "control-plane.db"
    monkeypatch.delenv("STATE_DIRECTORY")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert _default_database() == tmp_path / "state" / "preflight" / "control-plane.db"
    assert (tmp_path / "state" / "preflight").is_dir()


def test_a_state_directory_that_cannot_be_made_is_named() -> None:
    """With the option that helps."""
    result = CliRunner().invoke(
        control_plane, ["serve"], env={"STATE_DIRECTORY": None, "XDG_STATE_HOME": "/proc/self/nowhere"}
    )
    assert result.exit_code == 2
    assert "--db FILE" in result.stderr
