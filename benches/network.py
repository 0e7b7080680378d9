"""The private network beside pasta, slirp4netns and rootlesskit: `benches/compare net`.

Everybody talks to servers on the host's loopback, by the address that stands for the host; the fast
network, which has a server's own address alone, by one of the host's, which is the same way. This file
is also what runs inside of each network: network.py TARGET IPERF ECHO prints a line of JSON.
"""
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time

PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
SECONDS = os.environ.get("CORACLE_BENCH_SECONDS", "2")
STREAMS = {"out, 1 stream": [], "out, 8 streams": ["-P", "8"], "in, 1 stream": ["-R"], "in, 8 streams": ["-R", "-P", "8"]}
UDP_MBIT = "500"


def iperf(target, port, *flags):
    command = ["iperf3", "-J", "-4", "-c", target, "-p", str(port), "-t", SECONDS, *flags]
    for _ in range(100):
        said = subprocess.run(command, env={"PATH": PATH}, stdout=subprocess.PIPE, text=True)
        answer = json.loads(said.stdout)
        error = answer.get("error", "")
        if "busy" not in error and "refused" not in error:
            break
        time.sleep(0.1)  # the last test's connections have yet to end, or it has yet to listen again
    if "error" in answer:
        raise SystemExit(f"{' '.join(command)}: {answer['error']}")
    return answer["end"]


def gigabits(end):
    return end["sum_received"]["bits_per_second"] / 1e9


def inside(target, port, echo):
    """All that is measured from within, once."""
    found = {name: gigabits(iperf(target, port, *flags)) for name, flags in STREAMS.items()}
    found["loss"] = iperf(target, port, "-u", "-b", f"{UDP_MBIT}M", "-l", "1400")["sum"]["lost_percent"]
    took = []
    for _ in range(200):
        began = time.perf_counter()
        with socket.create_connection((target, echo)) as connection:
            took.append(time.perf_counter() - began)
            connection.recv(1)  # what the server says before it closes: nothing is left half open
    found["connect"] = statistics.median(took) * 1e6
    took = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect((target, echo))
        asking.settimeout(2)
        for _ in range(200):
            began = time.perf_counter()
            asking.send(b"question")
            asking.recv(100)
            took.append(time.perf_counter() - began)
    found["question"] = statistics.median(took) * 1e6
    return found


class Servers:
    """iperf3, and who says a letter to every connection and every datagram, on the host."""

    def __init__(self):
        self.iperf = free_port()
        self.process = subprocess.Popen(["iperf3", "-s", "-4", "-p", str(self.iperf)], env={"PATH": PATH},
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.tcp = socket.create_server(("0.0.0.0", 0), backlog=256)
        self.echo = self.tcp.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("0.0.0.0", self.echo))
        for serve in (self.connections, self.questions):
            threading.Thread(target=serve, daemon=True).start()
        wait_for(self.iperf)

    def connections(self):
        while True:
            connection, _ = self.tcp.accept()
            connection.send(b"x")
            connection.close()

    def questions(self):
        while True:
            text, sender = self.udp.recvfrom(2000)
            self.udp.sendto(text, sender)

    def end(self):
        self.process.terminate()
        self.process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port):
    deadline = time.monotonic() + 20
    while True:
        try:
            # iperf3's server takes a connection without a word for a failed test, and goes on.
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def descendants(pid):
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as children:
            for child in children.read().split():
                yield int(child)
                yield from descendants(child)


def memory(pid, name):
    """Kilobytes in memory of those below a process that are called so. All of these servers are closed to
    their own user, so that what they share cannot be told apart."""
    found = 0
    for child in [pid, *descendants(pid)]:
        try:
            with open(f"/proc/{child}/status", encoding="ascii") as status:
                fields = {name: rest.strip() for name, _, rest in (line.partition(":") for line in status)}
        except OSError:
            continue  # it ended
        if fields["Name"].startswith(name) and "VmRSS" in fields:
            found += int(fields["VmRSS"].split()[0])
    return found


def measured(make, env, servers):
    """One contender from within, as a process of the bench's user."""
    command = make(["/usr/bin/python3", "/bench/network.py"], servers.iperf, servers.echo)
    said = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if said.returncode != 0:
        sys.exit(f"{' '.join(command)}: {said.returncode}\n{said.stderr}{said.stdout}")
    return json.loads(said.stdout.strip().splitlines()[-1])


def published(make, env, server):
    """Gigabits a second from the host into a published port, and what its server takes of memory then."""
    port = free_port()
    running = subprocess.Popen(make(port), env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                speed = gigabits(iperf("127.0.0.1", port))
                break
            except SystemExit:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        time.sleep(0.5)
        return {"published": speed, "memory": memory(running.pid, server)}
    finally:
        os.killpg(running.pid, signal.SIGTERM)
        try:
            running.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()


def gateway():
    """The host's own, which pasta lets stand for the host."""
    said = subprocess.run(["ip", "-4", "-json", "route", "show", "default"], env={"PATH": PATH},
                          stdout=subprocess.PIPE, text=True)
    routes = json.loads(said.stdout or "[]")
    return routes[0].get("gateway") if routes else None


def own_address():
    """One of the host's that is not of its loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # says nothing
        except OSError:
            return None
        return probe.getsockname()[0]


def contenders(coracle, image, place, runtime):
    """Name to (how a command runs inside, how iperf3 serves a published port, the network server's name)."""
    known = {"the host's loopback": (
        lambda script, *ports: script[:1] + [f"{place}/network.py", "127.0.0.1", *map(str, ports)],
        lambda port: ["iperf3", "-s", "-4", "-p", str(port)], "none")}
    ours = [coracle, "run", "--rm", "-v", f"{place}:/bench:ro"]
    for directory in ("/usr", "/lib", "/lib64"):
        ours += ["-v", f"{directory}:{directory}:ro"] if os.path.exists(directory) else []
    known["coracle, private"] = (
        lambda script, *ports: ours + ["--network", "private:host-loopback", image, *script, "10.0.2.2", *map(str, ports)],
        lambda port: ours + ["-p", f"127.0.0.1:{port}:5201", image, "/usr/bin/iperf3", "-s", "-4"], "coracle-network")
    if own := own_address():
        known["coracle, fast"] = (
            lambda script, *ports: ours + ["--network", "fast:host-loopback", image, *script, own, *map(str, ports)],
            lambda port: ours + ["--network", "fast", "-p", f"127.0.0.1:{port}:5201", image, "/usr/bin/iperf3", "-s", "-4"],
            "coracle-network")
    if shutil.which("pasta", path=PATH) and (host := gateway()):
        pasta = ["pasta", "--config-net", "-q", "-f"]
        known["pasta"] = (
            lambda script, *ports: pasta + ["-T", "none", "-U", "none", "--", *script[:1], f"{place}/network.py", host, *map(str, ports)],
            lambda port: pasta + ["-t", f"127.0.0.1/{port}:5201", "--", "iperf3", "-s", "-4"], "passt")
    if shutil.which("rootlesskit", path=PATH) and shutil.which("slirp4netns", path=PATH):
        def kit():
            return ["rootlesskit", f"--state-dir={runtime}/kit", "--net=slirp4netns", "--mtu=65520", "--port-driver=builtin"]
        known["slirp4netns, rootlesskit's ports"] = (
            lambda script, *ports: kit() + [*script[:1], f"{place}/network.py", "10.0.2.2", *map(str, ports)],
            lambda port: kit() + ["-p", f"127.0.0.1:{port}:5201/tcp", "iperf3", "-s", "-4"], "slirp4netns")
    return known


def compare(coracle, image, work, env, rounds):
    """Each contender once a round; the tables show medians."""
    if not shutil.which("iperf3", path=PATH):
        sys.exit("benches/compare: no iperf3")
    place = f"{work}/bench"
    os.makedirs(place)
    shutil.copy(os.path.abspath(__file__), place)
    servers = Servers()
    known = contenders(coracle, image, place, env["XDG_RUNTIME_DIR"])
    rows = {name: [] for name in known}
    try:
        for _ in range(rounds):
            for name, (within, serve, server) in known.items():
                row = measured(within, env, servers)
                row.update(published(serve, env, server))
                rows[name].append(row)
    finally:
        servers.end()
    columns = [*STREAMS, "published", "loss", "connect", "question", "memory"]
    print(f"\na network of one's own ({rounds} alternated rounds, medians; Gbit/s; loss in per cent of {UDP_MBIT} Mbit/s of\n"
          "UDP; a connection and a question by UDP with its answer in µs; resident memory of the server in kB)")
    print(f"  {'':32}" + "".join(f"{name:>15}" for name in columns))
    for name, found in rows.items():
        cells = [statistics.median(row[column] for row in found) for column in columns]
        print(f"  {name:32}" + "".join(f"{cell:15.2f}" for cell in cells), flush=True)


if __name__ == "__main__":
    print(json.dumps(inside(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
