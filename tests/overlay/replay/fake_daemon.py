"""Serve a daemon's recorded answers: `python fake_daemon.py PRODUCT FOLDER`, of `tailscale` or `zerotier`.

FOLDER has one file for each path that the daemon answers; others are 404. The folder is read for each question, so that
a test may change what the daemon says. Of `status.json`, `status.1.json` and so on each is answered for a while.
Recorded times are moved so that the recording was made just now.
"""

import json
import re
import socketserver
import sys
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

TAILSCALE_SOCKET = "/run/tailscale/tailscaled.sock"
ZEROTIER_PORT = 9993
TURN_S = 0.7
"""How long each of several answers is given."""
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
_NEVER = "0001-01-01T00:00:00Z"
_PAST = ("LastWrite", "LastSeen", "LastHandshake")
_ZEROTIER_MS = ("clock", "lastReceive", "lastSend")


def tailscale_now(status: Any, now_unix_s: float) -> Any:
    """A status whose latest packet was sent one second ago; all its times move by the same difference.

    Without any packet in it, nothing is moved.
    """
    times = [_unix_s(peer[key]) for peer in _peers(status) for key in _PAST if peer.get(key, _NEVER) != _NEVER]
    return _moved(status, now_unix_s - 1 - max(times)) if times else status


def _peers(status: Any) -> list[Any]:
    return list((status.get("Peer") or {}).values()) if isinstance(status, dict) else []


def _unix_s(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def _moved(value: Any, by_s: float) -> Any:
    if isinstance(value, dict):
        return {key: _moved(each, by_s) for key, each in value.items()}
    if isinstance(value, list):
        return [_moved(each, by_s) for each in value]
    if isinstance(value, str) and value != _NEVER and _STAMP.fullmatch(value):
        moved = datetime.fromtimestamp(_unix_s(value), UTC) + timedelta(seconds=by_s)
        return moved.isoformat().replace("+00:00", "Z")
    return value


def zerotier_now(document: Any, by_ms: int) -> Any:
    """A document whose times are later by this number of milliseconds."""
    if isinstance(document, dict):
        known = {key: zerotier_now(each, by_ms) for key, each in document.items()}
        return known | {key: known[key] + by_ms for key in _ZEROTIER_MS if isinstance(known.get(key), int)}
    return [zerotier_now(each, by_ms) for each in document] if isinstance(document, list) else document


def answer(product: str, folder: Path, path: str, now_unix_s: float) -> bytes | None:
    """What the daemon says to a path (without its query); None if nothing was recorded."""
    name = path.partition("?")[0].strip("/").replace("localapi/v0/", "").replace("/", "-")
    files = [each for suffix in ("json", "*.json", "txt") for each in sorted(folder.glob(f"{name}.{suffix}"))]
    if not files:
        return None
    file = files[int(now_unix_s / TURN_S) % len(files)]
    text = file.read_bytes()
    if product == "zerotier":
        clock = json.loads((folder / "status.json").read_bytes())["clock"]
        return json.dumps(zerotier_now(json.loads(text), int(now_unix_s * 1000) - clock)).encode()
    if file.suffix != ".json":
        return text
    said = tailscale_now(json.loads(text), now_unix_s)
    for peer in _peers(said) if len(files) > 1 else ():
        peer["RxBytes"] += int(now_unix_s)  # from both machines, so that it grows from answer to answer
    return json.dumps(said).encode()


class _Unix(socketserver.ThreadingUnixStreamServer):
    def get_request(self) -> tuple[Any, Any]:
        """A UNIX socket's client has no address; the handler wants one."""
        request, _ = super().get_request()
        return request, ("local", 0)


def main(product: str, folder: Path) -> None:
    """Answer until the process is ended."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """The recorded answer."""
            body = answer(product, folder, self.path, time.time())
            self.send_response(404 if body is None else 200)
            self.end_headers()
            self.wfile.write(body or b"")

        do_POST = do_GET  # noqa: N815 -- the name that the server looks for

        def log_message(self, *_: Any) -> None:
            """Nothing to say."""

    server: socketserver.BaseServer
    if product == "tailscale":
        server = _Unix(TAILSCALE_SOCKET, Handler)
    else:
        server = socketserver.ThreadingTCPServer(("127.0.0.1", ZEROTIER_PORT), Handler)
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
