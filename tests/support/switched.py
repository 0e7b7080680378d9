"""What programs do with connections, for tests of --network fast: run inside of a container.

Usage: switched.py ADDRESS ADDRESS6 HOLE [THING...]. Prints a line for each thing that is as it is
elsewhere, and ends with a traceback at the first that is not.
"""

import asyncio
import ctypes
import errno
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

FOUR, SIX = sys.argv[1:3]
# Nobody answers there, and nothing says so.
HOLE = (sys.argv[3], 9)
# The container's own address on its link; a socket of the host's has another.
OWN = ("10.0.2.100", "fd00::100")


def tap():
    with open("/proc/net/dev") as file:
        line = next(line for line in file if line.strip().startswith("eth0"))
    fields = line.split(":")[1].split()
    return int(fields[0]) + int(fields[8])


def is_switched(connection):
    return connection.getsockname()[0] not in OWN


def talk(connection, word=b"word"):
    connection.settimeout(30)
    connection.sendall(word)
    assert connection.recv(64) == word


def fresh(address, kind=socket.SOCK_STREAM):
    return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)


def blocking():
    for address in FOUR, SIX, "::ffff:" + FOUR:
        with fresh(address) as connection:
            connection.connect((address, 7))
            assert connection.getpeername()[:2] == (address, 7), connection.getpeername()
            assert is_switched(connection), address
            talk(connection)


def many_bytes():
    before = tap()
    with socket.create_connection((FOUR, 8080)) as connection:
        connection.sendall(b"GET /big HTTP/1.0\r\n\r\n")
        got = 0
        while data := connection.recv(1 << 16):
            got += len(data)
    assert got > 20 << 20, got
    assert tap() - before < 1 << 16, tap() - before


def options():
    with fresh(FOUR) as connection:
        set_ = {
            (socket.IPPROTO_TCP, socket.TCP_NODELAY): 1,
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE): 77,
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE): 1,
            (socket.SOL_SOCKET, socket.SO_REUSEADDR): 1,
            (socket.IPPROTO_IP, socket.IP_TTL): 33,
            (socket.IPPROTO_IP, socket.IP_TOS): 0x10,
            (socket.IPPROTO_TCP, socket.TCP_LINGER2): 17,
            (socket.SOL_SOCKET, socket.SO_PRIORITY): 3,
        }
        for (level, name), value in set_.items():
            connection.setsockopt(level, name, value)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 50000)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 7))
        os.set_inheritable(connection.fileno(), True)
        connection.connect((FOUR, 7))
        assert is_switched(connection)
        for (level, name), value in set_.items():
            assert connection.getsockopt(level, name) == value, (level, name)
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 100000
        linger = connection.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)
        assert struct.unpack("ii", linger) == (1, 7)
        assert os.get_inheritable(connection.fileno())
    with fresh(FOUR) as connection:
        connection.connect((FOUR, 7))
        assert not os.get_inheritable(connection.fileno())
        assert os.get_blocking(connection.fileno())


def unhurried():
    for address in FOUR, SIX:
        with fresh(address) as connection:
            connection.setblocking(False)
            assert connection.connect_ex((address, 7)) in (0, errno.EINPROGRESS)
            poll = select.poll()
            poll.register(connection, select.POLLOUT)
            assert poll.poll(30000) == [(connection.fileno(), select.POLLOUT)]
            assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
            assert connection.connect_ex((address, 7)) in (0, errno.EISCONN)
            assert is_switched(connection)
            with select.epoll() as epoll:
                epoll.register(connection, select.EPOLLIN)
                connection.send(b"word")
                assert epoll.poll(30) == [(connection.fileno(), select.EPOLLIN)]
            assert connection.recv(64) == b"word"


def by_loop():
    async def say():
        words = [asyncio.open_connection(FOUR, 7) for _ in range(20)]
        for reader, writer in await asyncio.gather(*words):
            assert is_switched(writer.get_extra_info("socket"))
            writer.write(b"word")
            assert await reader.readexactly(4) == b"word"
            writer.close()

    asyncio.run(say())


def waited_for(connection, epoll, flag):
    """Waits until an epoll tells of it, and nothing else: who is not connected yet is said to be hung up."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for told, flags in epoll.poll(1):
            assert told == connection.fileno(), told
            if flags & flag and not flags & select.EPOLLHUP:
                return
    raise SystemExit("epoll told of nothing")


class Event(ctypes.Structure):
    _pack_ = 1 if os.uname().machine == "x86_64" else 0
    _fields_ = [("events", ctypes.c_uint32), ("data", ctypes.c_uint64)]


def in_epoll():
    """Who waits for it before it connects, waits for what it is then."""
    for flags in select.EPOLLOUT, select.EPOLLOUT | select.EPOLLET, select.EPOLLOUT | select.EPOLLIN | select.EPOLLRDHUP:
        with fresh(FOUR) as connection, select.epoll() as epoll, select.epoll() as other:
            connection.setblocking(False)
            epoll.register(connection, flags)
            other.register(connection, select.EPOLLIN)
            assert connection.connect_ex((FOUR, 7)) == errno.EINPROGRESS
            waited_for(connection, epoll, select.EPOLLOUT)
            assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
            assert is_switched(connection)
            if flags & select.EPOLLET:
                assert epoll.poll(0.05) == []
            epoll.modify(connection, select.EPOLLIN)
            connection.send(b"word")
            assert epoll.poll(30) == other.poll(30) == [(connection.fileno(), select.EPOLLIN)]
            assert connection.recv(64) == b"word"
            epoll.unregister(connection)
            connection.send(b"word")
            assert other.poll(30) == [(connection.fileno(), select.EPOLLIN)]
            assert epoll.poll(0) == []
    # One that is told of once, by what only its program knows of it; and one that blocks.
    libc = ctypes.CDLL(None, use_errno=True)
    for blocks in False, True:
        with fresh(FOUR) as connection, select.epoll() as epoll:
            connection.setblocking(blocks)
            event = Event(select.EPOLLIN | select.EPOLLONESHOT, 1 << 31 | 5)
            assert libc.epoll_ctl(epoll.fileno(), 1, connection.fileno(), ctypes.byref(event)) == 0
            assert connection.connect_ex((FOUR, 7)) == (0 if blocks else errno.EINPROGRESS)
            select.select([], [connection], [], 30)
            assert is_switched(connection)
            connection.send(b"word")
            told = Event()
            assert libc.epoll_wait(epoll.fileno(), ctypes.byref(told), 1, 30000) == 1
            assert (told.events, told.data) == (select.EPOLLIN, 1 << 31 | 5), (told.events, told.data)
            assert epoll.poll(0.05) == []
    # The set is another's too, who is told as well; and it is told of by an outer one.
    with fresh(FOUR) as connection, select.epoll() as epoll, select.epoll() as outer:
        connection.setblocking(False)
        number = connection.fileno()
        epoll.register(connection, select.EPOLLIN)
        outer.register(epoll, select.EPOLLIN)
        assert connection.connect_ex((FOUR, 9)) in (errno.EINPROGRESS, errno.ECONNREFUSED)
        select.select([], [connection], [], 30)
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
        # Another try, of a socket that was switched already.
        assert connection.connect_ex((FOUR, 7)) in (0, errno.EINPROGRESS)
        select.select([], [connection], [], 30)
        connection.send(b"word")
        assert outer.poll(30) == [(epoll.fileno(), select.EPOLLIN)]
        if child := os.fork():
            assert os.waitpid(child, 0)[1] == 0
        else:
            os._exit(0 if epoll.poll(30) == [(number, select.EPOLLIN)] else 1)
        assert is_switched(connection)
    # What has told once and for all, and what one waiter of several is to get: by the tap.
    for flags in select.EPOLLIN | select.EPOLLONESHOT, select.EPOLLIN | select.EPOLLEXCLUSIVE:
        with fresh(FOUR) as connection, select.epoll() as epoll:
            connection.setblocking(False)
            epoll.register(connection, flags)
            epoll.poll(0)
            assert connection.connect_ex((FOUR, 7)) == errno.EINPROGRESS
            select.select([], [connection], [], 30)
            assert not is_switched(connection)


def shared():
    """A descriptor that is not alone: by the tap."""
    with fresh(FOUR) as connection, connection.dup() as other:
        connection.connect((FOUR, 7))
        assert not is_switched(connection)
        talk(other)
    with fresh(FOUR) as connection:
        if child := os.fork():
            assert os.waitpid(child, 0)[1] == 0
            assert not is_switched(connection)
            talk(connection)
        else:
            connection.connect((FOUR, 7))
            os._exit(0)
    if child := os.fork():
        assert os.waitpid(child, 0)[1] == 0
    else:
        with socket.create_connection((FOUR, 7)) as connection:
            talk(connection)
            os._exit(0 if is_switched(connection) else 1)
    # Wherever the other stands.
    for place in 200, 900:
        with fresh(FOUR) as connection, fresh(FOUR) as alone:
            os.dup2(connection.fileno(), place)
            for one in connection, alone:
                one.connect((FOUR, 7))
                talk(one)
            assert not is_switched(connection) and is_switched(alone)
            os.close(place)


def among_many():
    """What became of its other descriptors since a thread's last call is seen."""
    others = [os.open("/dev/null", os.O_RDONLY) for _ in range(120)]

    def connected(switched, before=lambda _: None):
        with fresh(FOUR) as connection:
            before(connection)
            connection.connect((FOUR, 7))
            talk(connection)
            assert is_switched(connection) == switched

    for _ in range(3):
        connected(True)
    middle = others[60]
    connected(False, lambda connection: os.dup2(connection.fileno(), middle))
    connected(True)
    os.close(middle)
    connected(True)
    with select.epoll() as epoll:
        assert epoll.fileno() == middle
        with fresh(FOUR) as connection:
            epoll.register(connection, select.EPOLLIN)
            connection.connect((FOUR, 7))
            assert is_switched(connection)
            connection.sendall(b"word")
            assert epoll.poll(30) == [(connection.fileno(), select.EPOLLIN)]
    others.remove(middle)
    # More than are looked through, and fewer again.
    more = [os.dup(others[0]) for _ in range(500)]
    connected(False)
    for number in more + others:
        os.close(number)
    connected(True)


def bound():
    with fresh(FOUR) as connection:
        connection.bind(("0.0.0.0", 4567))
        connection.connect((FOUR, 7))
        assert connection.getsockname() == (OWN[0], 4567)
        talk(connection)


def refused():
    for address in FOUR, SIX:
        with fresh(address) as connection:
            assert connection.connect_ex((address, 9)) == errno.ECONNREFUSED
            # And once more with the same.
            assert connection.connect_ex((address, 7)) == 0
            talk(connection)
        with fresh(address) as connection:
            connection.setblocking(False)
            assert connection.connect_ex((address, 9)) in (errno.EINPROGRESS, errno.ECONNREFUSED)
            select.select([], [connection], [], 30)
            assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
            assert connection.connect_ex((address, 7)) in (0, errno.EINPROGRESS)
            select.select([], [connection], [], 30)
            talk(connection)


def inside():
    for family, host in (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"), (socket.AF_INET, OWN[0]):
        with socket.socket(family) as listener:
            listener.bind((host, 0))
            listener.listen()
            with fresh(host) as connection:
                connection.connect(listener.getsockname())
                assert listener.accept()[1] == connection.getsockname()


def routed():
    """What the container's own routes say is kept to at once. Takes CAP_NET_ADMIN."""
    def route(*words):
        subprocess.run(["/usr/bin/ip", "route", *words, FOUR], check=True)

    for _ in range(3):
        with fresh(FOUR) as connection:
            connection.connect((FOUR, 7))
            assert is_switched(connection)
        route("add", "unreachable")
        with fresh(FOUR) as connection:
            assert connection.connect_ex((FOUR, 7)) == errno.EHOSTUNREACH
        route("del", "unreachable")


def interrupted():
    """Signals end or go on with a connect that nobody answers, as they do elsewhere."""
    caught = []
    signal.signal(signal.SIGALRM, lambda *_: caught.append(1))
    signal.siginterrupt(signal.SIGALRM, True)
    libc = ctypes.CDLL(None, use_errno=True)
    address = struct.pack("!2sH4s8x", struct.pack("H", socket.AF_INET), HOLE[1], socket.inet_aton(HOLE[0]))
    with fresh(FOUR) as connection:
        # Again and again, as the first may come before the call.
        signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
        assert libc.connect(connection.fileno(), address, 16) == -1
        assert ctypes.get_errno() == errno.EINTR, ctypes.get_errno()
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert caught
        # It goes on without.
        connection.setblocking(False)
        assert connection.connect_ex(HOLE) == errno.EALREADY
    with fresh(FOUR) as connection:
        connection.settimeout(0.2)
        try:
            connection.connect(HOLE)
            raise SystemExit("connected to nobody")
        except TimeoutError:
            pass
    with fresh(FOUR) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, 200000))
        assert libc.connect(connection.fileno(), address, 16) == -1
        assert ctypes.get_errno() == errno.EINPROGRESS, ctypes.get_errno()
    for number in signal.SIGTERM, signal.SIGQUIT, signal.SIGKILL:
        ready, tells = os.pipe()
        if child := os.fork():
            os.read(ready, 1)
            time.sleep(0.1)
            os.kill(child, number)
            status = os.waitpid(child, 0)[1]
            assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == number, (number, status)
        else:
            if number != signal.SIGKILL:
                signal.signal(number, signal.SIG_DFL)
            waiting = fresh(FOUR)
            os.write(tells, b"r")
            libc.connect(waiting.fileno(), address, 16)
            os._exit(1)
    # With others who wait, nobody else does.
    def stuck():
        waiting = fresh(FOUR)
        libc.connect(waiting.fileno(), address, 16)

    for _ in range(3):
        threading.Thread(target=stuck, daemon=True).start()
    time.sleep(0.1)
    blocking()


def main():
    things = [blocking, many_bytes, options, unhurried, by_loop, in_epoll, shared, among_many, bound, refused, inside, interrupted]
    known = {thing.__name__: thing for thing in [*things, routed]}
    for name in sys.argv[4:] or [thing.__name__ for thing in things]:
        known[name]()
        print(name, flush=True)
    os._exit(0)


main()
