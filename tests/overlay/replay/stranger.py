"""Answer as any web server does, and keep what comes: `python stranger.py ADDRESS PORT FILE`."""

import socketserver
import sys
from pathlib import Path


def main(address: str, port: int, file: Path) -> None:
    """Serve until the process is ended."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            """Everything up to the empty line, then an answer."""
            with file.open("ab") as kept:
                kept.write(b"connection\n")
                while (line := self.rfile.readline()).strip():
                    kept.write(line)
                    kept.flush()
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

    with socketserver.ThreadingTCPServer((address, port), Handler) as server:
        print("ready", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
