"""Bursts of datagrams, each answered by an echo: run inside of a container.

Usage: burst.py ADDRESS PORT. A burst is less than any queue on the way holds, and the next begins when the last is
home, so that none may be lost, however slow the machine is.
"""

import socket
import sys

BURST, ROUNDS = 48, 40
with socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM) as there:
    there.connect((sys.argv[1], int(sys.argv[2])))
    there.settimeout(30)
    for number in range(ROUNDS):
        sent = {b"%d of %d " % (place, number) * 90 for place in range(BURST)}
        for datagram in sent:
            there.send(datagram)
        missing = set(sent)
        while missing:
            missing.remove(there.recv(4096))
print("all home")
