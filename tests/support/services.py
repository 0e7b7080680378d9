#!/usr/bin/env python3
"""Run the registries the tests pull from: services.py FIXTURES ENVFILE

Starts Debian's docker-registry on free loopback ports over one storage directory
(FIXTURES/registry): plain HTTP, HTTP with a password, HTTP with bearer tokens, and TLS with a
certificate of the fixtures' own authority; and two over an empty one, to push to: plain HTTP, and
HTTP with tokens. And one by IPv6, where the host has it, that wants to see a client's certificate. Writes their addresses to ENVFILE as NAME=value
lines once all of them answer, and runs until its standard input closes, so that nothing
outlives the test run, however that ended.
"""
import base64
import http.server
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

USER, PASSWORD = "mariner", "correct horse"


def free_ports(count):
    """Ports that were free a moment ago: all are held at once, so they differ."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


class Tokens(http.server.BaseHTTPRequestHandler):
    """The token server of the distribution spec: anyone may pull, `private/` needs a login."""

    key = certificate = None
    # The answer follows its head at once.
    disable_nagle_algorithm = True

    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        account = ""
        header = self.headers.get("Authorization", "")
        if header.startswith("Basic "):
            account, _, password = base64.b64decode(header[6:]).decode().partition(":")
            if (account, password) != (USER, PASSWORD):
                return self.answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "wrong login"}]})
        access = []
        for scope in query.get("scope", []):
            kind, name, actions = scope.split(":", 2)
            allowed = [a for a in actions.split(",")
                       if account or (a == "pull" and not name.startswith("private/"))]
            if allowed:
                access.append({"type": kind, "name": name, "actions": allowed})
        now = int(time.time())
        claims = {"iss": "coracle-test", "sub": account, "aud": query.get("service", [""])[0],
                  "exp": now + 300, "nbf": now - 10, "iat": now, "jti": str(now), "access": access}
        chain = [base64.b64encode(self.certificate).decode()]
        head = {"typ": "JWT", "alg": "RS256", "x5c": chain}
        text = encode(json.dumps(head).encode()) + b"." + encode(json.dumps(claims).encode())
        signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.key], input=text,
                                   check=True, capture_output=True).stdout
        token = (text + b"." + encode(signature)).decode()
        return self.answer(200, {"token": token, "access_token": token, "expires_in": 300})

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def ipv6():
    """Whether this host has a loopback of it."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        return True
    except OSError:
        return False


def registry(workdir, name, address, storage, extra):
    """Start one docker-registry; JSON is YAML, so its configuration is written as that."""
    config = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": storage}},
        "http": {"addr": address, "secret": "not one", **extra.pop("http", {})},
        **extra,
    }
    path = f"{workdir}/{name}.yml"
    with open(path, "w", encoding="utf-8") as out:
        json.dump(config, out)
    with open(f"{workdir}/{name}.log", "wb") as log:
        # OTEL and the like in the caller's environment are no business of the registry.
        return subprocess.Popen(["docker-registry", "serve", path], stdin=subprocess.DEVNULL,
                                stdout=log, stderr=log, env={"PATH": os.environ["PATH"]})


def wait_for(address, children):
    host, _, port = address.rpartition(":")
    for _ in range(200):
        if any(child.poll() is not None for child in children):
            sys.exit("services: a registry ended at its start")
        try:
            socket.create_connection((host.strip("[]"), int(port)), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"services: nothing answers at {address}")


def main():
    fixtures, env_file = sys.argv[1:3]
    storage, keys = f"{fixtures}/registry", f"{fixtures}/keys"
    ports = dict(zip(["plain", "basic", "bearer", "tls", "token", "scratch", "guarded", "mutual"], free_ports(8)))
    address = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    if ipv6():
        address["mutual"] = f"[::1]:{ports['mutual']}"
    children = []
    with tempfile.TemporaryDirectory() as workdir:
        Tokens.key = f"{keys}/token.key"
        with open(f"{keys}/token.der", "rb") as source:
            Tokens.certificate = source.read()
        tokens = http.server.ThreadingHTTPServer(("127.0.0.1", ports["token"]), Tokens)
        threading.Thread(target=tokens.serve_forever, daemon=True).start()
        bearer = {"auth": {"token": {
            "realm": f"http://127.0.0.1:{ports['token']}/token", "service": "coracle-registry",
            "issuer": "coracle-test", "rootcertbundle": f"{keys}/token.crt"}}}
        tls = {"certificate": f"{keys}/server.crt", "key": f"{keys}/server.key"}
        kinds = {
            "plain": {},
            "basic": {"auth": {"htpasswd": {"realm": "coracle", "path": f"{keys}/htpasswd"}}},
            "bearer": dict(bearer),
            "tls": {"http": {"tls": dict(tls)}},
            "mutual": {"http": {"tls": {**tls, "clientcas": [f"{keys}/ca.crt"]}}},
            "scratch": {},
            "guarded": dict(bearer),
        }
        os.mkdir(f"{workdir}/pushed")
        try:
            for name, extra in kinds.items():
                pushed = name in ("scratch", "guarded")
                at = f"{workdir}/pushed" if pushed else storage
                children.append(registry(workdir, name, address[name], at, extra))
            for name in kinds:
                wait_for(address[name], children)
            lines = [f"CORACLE_TEST_{name.upper()}={address[name]}\n" for name in kinds]
            lines += [f"CORACLE_TEST_USER={USER}\n", f"CORACLE_TEST_PASSWORD={PASSWORD}\n",
                      f"CORACLE_TEST_CA={keys}/ca.crt\n"]
            # Renamed into place: who waits for the file never reads half of it.
            with open(env_file + ".new", "w", encoding="utf-8") as out:
                out.writelines(lines)
            os.rename(env_file + ".new", env_file)
            sys.stdin.buffer.read()
        finally:
            for child in children:
                child.terminate()
            for child in children:
                child.wait()


if __name__ == "__main__":
    main()
