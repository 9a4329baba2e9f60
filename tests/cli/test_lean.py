"""What stays out of the program's own process."""

import subprocess
import sys
from pathlib import Path

CLIENT = """
import sys
from preflight.cli import lean
lean.start()
import httpx
assert issubclass(httpx.AsyncHTTPTransport, httpx.AsyncBaseTransport)
sys.exit(' '.join(sorted({'pygments', 'rich', 'click'} & set(sys.modules))) or 0)
"""
REQUEST = """
from preflight.cli import lean
lean.start()
import asyncio, httpx

async def answer(reader, writer):
    await reader.readuntil(b'\\r\\n\\r\\n')
    writer.write(b'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok')
    await writer.drain()
    writer.close()

async def main():
    async with await asyncio.start_server(answer, '127.0.0.1', 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with httpx.AsyncHTTPTransport() as transport:
            response = await transport.handle_async_request(httpx.Request('GET', f'http://127.0.0.1:{port}/'))
            assert await response.aread() == b'ok'

asyncio.run(main())
"""


def _run(program: str, tmp_path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    return done.stderr


def test_an_http_client_comes_without_its_own_command(tmp_path: Path) -> None:
    """httpx's command line would load pygments and rich for every run that asks a control plane."""
    assert _run(CLIENT, tmp_path) == ""


def test_requests_work_without_what_was_left_out(tmp_path: Path) -> None:
    """httpcore takes asyncio for granted where nothing can be asked."""
    assert _run(REQUEST, tmp_path) == ""


COLLECTOR = """
import gc
from preflight.cli import lean
lean.start()
assert gc.isenabled()
lean.loaded()
first, usual = gc.get_freeze_count(), gc.get_threshold()[0]
assert first and usual == lean.OBJECTS
circles = [[] for _ in range(10)]
lean.loaded()
assert (gc.get_freeze_count(), gc.get_threshold()[0]) == (first, usual)
"""

SERVER = """
import gc
from preflight.cli import lean
lean.start()
kept = [[] for _ in range(2 * lean.LOADING)]
assert gc.get_threshold()[0] == lean.OBJECTS and not gc.callbacks
"""


def test_only_what_is_loaded_at_the_start_is_kept_from_the_collector(tmp_path: Path) -> None:
    """A `watch` prepares a session for each round: circles of the rounds before must be found for weeks."""
    assert _run(COLLECTOR, tmp_path) == ""


def test_a_command_that_never_says_it_is_loaded_collects_as_usual(tmp_path: Path) -> None:
    """A server runs for months: after the first collection it waits for no more objects than before."""
    assert _run(SERVER, tmp_path) == ""
