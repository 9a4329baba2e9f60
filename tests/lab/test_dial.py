"""The way into a fleet's management network: bytes both ways, and a sentence when nobody is there."""

import os
import socket
import subprocess
import threading

from preflight.programs import python_module


def test_bytes_pass_both_ways_until_the_far_end_closes() -> None:
    """Protects SSH over it: large answers, and an input that ends before them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer() -> None:
            link, _ = server.accept()
            with link:
                received = b""
                while piece := link.recv(65536):
                    received += piece
                link.sendall(received[::-1])

        serving = threading.Thread(target=answer)
        serving.start()
        sent = os.urandom(300_000)
        words = python_module("preflight.lab.dial", "127.0.0.1", str(port))
        done = subprocess.run(words, input=sent, capture_output=True, timeout=60, check=False)
        serving.join()
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == sent[::-1]


def test_who_is_not_there_is_told() -> None:
    """Protects the words of a hole: Ansible shows what the ProxyCommand says."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    done = subprocess.run(
        python_module("preflight.lab.dial", "127.0.0.1", str(port)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, f"127.0.0.1 port {port}: Connection refused\n")
