"""A hostile program in a container with --network fast: wants to reach the host's loopback.

Usage: reaching.py ADDRESS HOLE PORT ROUNDS, of which PORT is the host's, on its loopback.
"""

import ctypes
import errno
import os
import socket
import struct
import sys
import threading
import time

OUTSIDE, HOLE = sys.argv[1:3]
PORT, ROUNDS = int(sys.argv[3]), int(sys.argv[4])
ESTABLISHED = 1
libc = ctypes.CDLL(None, use_errno=True)


def address(host, port):
    return struct.pack("!2sH4s8x", struct.pack("H", socket.AF_INET), port, socket.inet_aton(host))


GOOD, BAD = address(OUTSIDE, 7), address("127.0.0.1", PORT)
ended = threading.Event()


def while_it_lasts(work):
    def loop():
        while not ended.is_set():
            work()
    threading.Thread(target=loop, daemon=True).start()


def is_reached(connection):
    if connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != ESTABLISHED:
        return False
    return connection.getpeername()[0].startswith("127.")


def rewriting():
    """The address changes while it is looked at."""
    room = ctypes.create_string_buffer(16)

    def rewrite():
        ctypes.memmove(room, BAD, 16)
        ctypes.memmove(room, GOOD, 16)

    while_it_lasts(rewrite)
    outside = 0
    for turn in range(ROUNDS * 30):
        if outside and turn >= ROUNDS:
            break
        with socket.socket() as connection:
            connection.setblocking(turn % 2 == 0)
            libc.connect(connection.fileno(), room, 16)
            assert not is_reached(connection)
            outside += connection.getsockname()[0] not in ("0.0.0.0", "10.0.2.100", "127.0.0.1")
    ended.set()
    assert outside, "none was ever let through"


def unconnected():
    """A socket of the host's that may be connected once more."""
    free = socket.socket()
    free.setblocking(False)
    assert free.connect_ex((HOLE, 9)) == errno.EINPROGRESS
    assert free.getsockname()[0] != "10.0.2.100"
    free.shutdown(socket.SHUT_RDWR)
    free.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # that it was reset
    return free


def again():
    free = unconnected()
    assert free.connect_ex(("127.0.0.1", PORT)) == errno.ENETUNREACH
    # What is sent at once asks nobody.
    for host in "127.0.0.1", "127.0.0.2":
        free = unconnected()
        try:
            free.sendto(b"word", socket.MSG_FASTOPEN, (host, PORT))
        except OSError:
            pass
        time.sleep(0.2)
        assert not is_reached(free)
    try:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"")
        raise SystemExit("it could be taken from its device")
    except PermissionError:
        pass


def exchanging():
    """The descriptor changes while it is looked at."""
    frees = [unconnected() for _ in range(4)]
    place = socket.socket()
    ended.clear()

    def exchange():
        for free in frees:
            os.dup2(free.fileno(), place.fileno())
            with socket.socket() as own:
                os.dup2(own.fileno(), place.fileno())

    while_it_lasts(exchange)
    for _ in range(ROUNDS):
        libc.connect(place.fileno(), BAD, 16)
    ended.set()
    time.sleep(0.3)
    assert not any(is_reached(free) for free in frees)


for attempt in rewriting, again, exchanging:
    attempt()
    print(attempt.__name__, flush=True)
os._exit(0)
