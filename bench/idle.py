# SPDX-License-Identifier: BSD-3-Clause
"""What an idle connection costs a server, in memory of its process."""

import contextlib
import pathlib
import resource
import socket
import struct
import time

HANG_S = 30
SETTLE_S = 1


def take(connection, size):
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise ConnectionError("the server closed an idle connection")
        data += piece
    return data


def connect(path):
    """A connection that has written and read, and then does nothing."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(HANG_S)
        connection.connect(path)
        take(connection, 18)
        connection.sendall(
            struct.pack(">I", 3)
            + b"IHAVEOPT"
            + struct.pack(">II", 7, 6)  # GO
            + bytes(6)
        )
        kind = None
        while kind != 1:  # ACK
            _, _, kind, size = struct.unpack(">QIII", take(connection, 20))
            take(connection, size)
            if kind >> 31:
                raise ConnectionError(f"the server refused: error {kind:#x}")
        head = struct.Struct(">IHHQQI")
        connection.sendall(
            head.pack(0x25609513, 0, 1, 1, 0, 4096) + b"x" * 4096
        )
        take(connection, 16)
        connection.sendall(head.pack(0x25609513, 0, 0, 2, 0, 4096))
        take(connection, 16 + 4096)
    except BaseException:
        connection.close()
        raise
    return connection


def memory_kib(pid):
    """(RSS, PSS) of the process."""
    found = {}
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().split(
        "\n"
    ):
        name, _, value = line.partition(":")
        if name in ("Rss", "Pss"):
            found[name] = int(value.split()[0])
    return found["Rss"], found["Pss"]


def allow_descriptors(nr):
    """For this process and the servers that it will start."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = nr if hard == resource.RLIM_INFINITY else min(nr, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def cost_kib(server, nr):
    """KiB of RSS and of PSS for each of nr connections that are idle after a
    write and a read.  The first connection is not counted: with it comes what
    the server needs once.  The server must be fresh: else connections take what
    earlier ones have left in its heap, and seem to cost nothing.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(connect(server.socket))
        time.sleep(SETTLE_S)
        before = memory_kib(server.pid)
        for _ in range(nr):
            stack.enter_context(connect(server.socket))
        time.sleep(SETTLE_S)
        after = memory_kib(server.pid)
    return tuple((b - a) / nr for a, b in zip(before, after))
