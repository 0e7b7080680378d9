"""The world outside, for tests: servers in a network namespace of their own.

  8080  HTTP: a word, 20 MiB at /big, and a source of Debian packages at /debs
  7     echo, by connections and by datagrams
  8     echo for thousands of connections at once
  6     calls back the port that it is told, at who told it, and passes on what is said there
  5201  iperf3, which serves one at a time, and between two of them does not listen
  53    names, by connections too: *.outside.test, but for none.outside.test

Usage: outside.py ADDRESS ADDRESS6 DEBS: where to listen, and a directory of packages. Ends when its input
does.
"""

import asyncio
import http.server
import os
import resource
import shutil
import socket
import socketserver
import struct
import subprocess
import sys
import threading
import urllib.parse

BIG = 20 << 20


class Pages(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    debs = None

    def do_GET(self):
        if self.path.startswith("/debs/"):
            return self.package(os.path.basename(urllib.parse.unquote(self.path)))
        body = b"\0" * BIG if self.path == "/big" else b"served outside\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def package(self, name):
        try:
            file = open(os.path.join(self.debs, name), "rb")
        except OSError:
            return self.send_error(404)
        with file:
            self.send_response(200)
            self.send_header("Content-Length", str(os.fstat(file.fileno()).st_size))
            self.end_headers()
            shutil.copyfileobj(file, self.wfile)

    def log_message(self, *_):
        pass


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data)


class Datagrams(socketserver.BaseRequestHandler):
    def handle(self):
        data, own = self.request
        own.sendto(data, self.client_address)


class CallBack(socketserver.StreamRequestHandler):
    def handle(self):
        port = int(self.rfile.readline())
        with socket.create_connection((self.client_address[0], port), timeout=10) as there:
            while data := there.recv(65536):
                self.wfile.write(data)


class Names(socketserver.BaseRequestHandler):
    address = None

    def handle(self):
        query, own = self.request
        own.sendto(self.answer(query), self.client_address)

    def answer(self, query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode().lower())
            at += 1 + query[at]
        question, (kind,) = query[12 : at + 5], struct.unpack("!H", query[at + 1 : at + 3])
        name = ".".join(labels)
        known = name.endswith(".outside.test") and name != "none.outside.test"
        address = "198.51.100.77" if name.startswith("host.") else self.address
        answer = b""
        if known and kind == 1:
            answer = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 0, 4) + socket.inet_aton(address)
        flags = 0x8180 if known else 0x8183
        head = query[:2] + struct.pack("!HHHHH", flags, 1, 1 if answer else 0, 0, 0)
        return head + question + answer


class NamesByConnection(Names):
    def handle(self):
        with self.request.makefile("rb") as came:
            while length := came.read(2):
                answer = self.answer(came.read(*struct.unpack("!H", length)))
                self.request.sendall(struct.pack("!H", len(answer)) + answer)


async def answer(reader, writer):
    try:
        while data := await reader.read(4096):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    writer.close()


async def crowd(addresses, listening):
    for address in addresses:
        await asyncio.start_server(answer, address, 8, backlog=4096)
    listening.set()
    await asyncio.Event().wait()


class Http(http.server.ThreadingHTTPServer):
    daemon_threads = True


class Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True


class Udp(socketserver.ThreadingUDPServer):
    daemon_threads = True


def six(kind):
    return type(kind.__name__ + "6", (kind,), {"address_family": socket.AF_INET6})


def main():
    four, other, Pages.debs = sys.argv[1:]
    Names.address = four
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    listening = threading.Event()
    threading.Thread(target=lambda: asyncio.run(crowd((four, other), listening)), daemon=True).start()
    listening.wait()
    for address, dress in ((four, lambda kind: kind), (other, six)):
        for kind, port, handler in (
            (Http, 8080, Pages),
            (Tcp, 7, Echo),
            (Tcp, 6, CallBack),
            (Udp, 7, Datagrams),
            (Udp, 53, Names),
            (Tcp, 53, NamesByConnection),
        ):
            server = dress(kind)((address, port), handler)
            threading.Thread(target=server.serve_forever, daemon=True).start()
    speed = subprocess.Popen(("iperf3", "-s"), stdout=subprocess.DEVNULL)
    print("ready", flush=True)
    sys.stdin.read()
    speed.kill()


main()
