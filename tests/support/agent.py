"""A seccomp agent: agent.py SOCKET. Prints what it is told with each listener, and has every call that arrives
there fail with EDOM."""
import fcntl
import socket
import struct
import sys
import threading

RECEIVE, SEND = 0xC0502100, 0xC0182101
EDOM = 33


def answer(listener):
    while True:
        call = bytearray(80)
        try:
            fcntl.ioctl(listener, RECEIVE, call)
            fcntl.ioctl(listener, SEND, bytearray(struct.pack("=QqiI", *struct.unpack_from("=Q", call), 0, -EDOM, 0)))
        except OSError:
            return  # all of its processes are gone


server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen(8)
while True:
    connection, _ = server.accept()
    told, listeners, _, _ = socket.recv_fds(connection, 65536, 2)
    if not listeners:
        continue  # somebody looked whether it is there
    print(told.decode(), flush=True)
    threading.Thread(target=answer, args=(listeners[0],), daemon=True).start()
