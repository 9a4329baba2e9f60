"""What both ends of a flow do with their TCP connection; a responder in one file has it too, with Python 3.9."""

import asyncio
import socket
import struct

READ_BYTES = 256 * 1024
TICK_S = 0.001
"""Between two looks at what is due of a UDP flow."""
ABORT = struct.pack("=ii", 1, 0)
"""SO_LINGER: what still waits to be sent is dropped at the end, for nobody counts it any more."""


async def exactly(link: socket.socket, size: int) -> bytes:
    """Exactly this many bytes. Raises IncompleteReadError if the other end hangs up before."""
    loop, data = asyncio.get_running_loop(), b""
    while len(data) < size:
        piece = await loop.sock_recv(link, size - len(data))
        if not piece:
            raise asyncio.IncompleteReadError(data, size)
        data += piece
    return data


async def received(link: socket.socket, buffer: bytearray, seconds: float) -> "int | None":
    """How many bytes came in; 0: the other end has hung up; None: nothing came within this time."""
    try:
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv_into(link, buffer), seconds)
    except TimeoutError:
        return None
    except ConnectionError:
        return 0
