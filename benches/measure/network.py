"""Servers in Forelift's guest and in QEMU's, measured by clients on the host, through published ports."""

import json
import os
import re
import select
import shutil
import socket
import subprocess
import tempfile
import threading
import time

from . import guest, images
from .boots import forelift
from .tools import CompareError, cached, check, cpu_clock, fingerprint, interleaved, median, script, tool

PROGRAMS, FILES = ["init"], ["network", "clients"]
# What a soak does most in the guest.
DIGESTS = "python3 -c 'import hashlib; [hashlib.sha256(bytes(1 << 20)) for _ in range(8)]'"
PORTS = {"iperf": 5201, "http": 80, "redis": 6379, "clients": 9001}
SIDES = ["forelift", "qemu-user", "qemu-passt"]
TIMEOUT = 120
FETCHED = 100 << 20
# What is measured, and its unit. (libslirp resets some of 50 connections that are opened at once: wrk goes
# on, redis-benchmark does not, and has 10.)
FIGURES = {
    "in": "Gbit/s", "out": "Gbit/s", "http-1": "requests/s", "http-50": "requests/s", "http-close": "requests/s",
    "ping": "requests/s", "redis-1": "requests/s", "redis-16": "requests/s", "fetch": "MB/s", "connect": "connections/s",
    "names": "us", "udp-in": "% lost", "udp-out": "% lost", "idle": "CPU s in 10 s",
}
# Of these, less is better, and of those that are about nothing there is no ratio.
LESS, NO_RATIO = ["names"], ["udp-in", "udp-out", "idle"]


def image(product, memory):
    """The image with the servers: `network.cwasm` for `forelift run`, `network.erofs` for QEMU."""
    arch = product.arch

    def make(out):
        reference = images.root(arch, out, "net", PROGRAMS, FILES)
        lift = ["--lift", "none"]
        if arch.lifted:
            # Each is a run of its own: a run is trained on up to a number of instructions.
            commands = [*(f"/bench/network --train-{name}" for name in ("iperf", "redis", "nginx", "clients")), DIGESTS]
            lift = [*(word for command in commands for word in ("--train", command)), "--lift", "16M"]
        wasm = os.path.join(out, "network.wasm")
        product.convert(reference, wasm, "--memory", f"{memory}M", *lift)
        check([product.bin, "rootfs", "-q", reference, os.path.join(out, "network.erofs")])
        shutil.rmtree(os.path.join(out, "image"))
        os.remove(wasm)

    root = images.rootfs(arch, "net")
    key = fingerprint(root, memory, *product.files, *images.layer_key(PROGRAMS, FILES), __file__)
    return cached(f"network-{arch.name}", key, make)


class Servers:
    """What the guest's clients connect to, on the host's loopback: an HTTP server of one page, an echo of
    words, and who answers each datagram with its own bytes."""

    def __init__(self):
        self.pages, self.words = (socket.create_server(("127.0.0.1", 0), backlog=1024) for _ in range(2))
        self.datagrams = socket.socket(type=socket.SOCK_DGRAM)
        self.datagrams.bind(("127.0.0.1", 0))
        self.http, self.echo, self.names = (s.getsockname()[1] for s in (self.pages, self.words, self.datagrams))
        for task in (self.serve_pages, self.serve_words, self.serve_datagrams):
            threading.Thread(target=task, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in (self.pages, self.words):
            server.shutdown(socket.SHUT_RDWR)
            server.close()
        # The thread is in recvfrom.
        self.datagrams.sendto(b"", self.datagrams.getsockname())

    def serve_pages(self):
        data = bytes(1 << 20)
        try:
            while True:
                with self.pages.accept()[0] as stream:
                    stream.recv(4096)
                    stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % FETCHED)
                    for _ in range(FETCHED // len(data)):
                        stream.sendall(data)
        except OSError:
            return

    def serve_words(self):
        try:
            while True:
                with self.words.accept()[0] as stream:
                    stream.sendall(stream.recv(8))
        except OSError:
            return

    def serve_datagrams(self):
        with self.datagrams:
            while True:
                data, peer = self.datagrams.recvfrom(512)
                if not data:
                    return
                self.datagrams.sendto(data, peer)


def free_ports():
    """A port of the host's for each of the guest's: free now."""
    sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in PORTS}
    ports = {name: each.getsockname()[1] for name, each in sockets.items()}
    for each in sockets.values():
        each.close()
    return ports


class Machine:
    """One machine whose servers listen."""

    def __init__(self, side, product, made, memory, place):
        self.side, self.ports, self.helper = side, free_ports(), None
        command = ["/bench/network"]
        if side == "forelift":
            publish = [word for name, port in self.ports.items() for word in ("-p", f"{port}:{PORTS[name]}")]
            publish += ["-p", f"{self.ports['iperf']}:{PORTS['iperf']}/udp", "--net", "--net-host-loopback"]
            words = forelift(product, os.path.join(made, "network.cwasm"), *publish) + command
        else:
            words = guest.qemu(product, os.path.join(made, "network.erofs"), memory, command, self.netdev(place))
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self.wait()

    def netdev(self, place):
        """QEMU's options."""
        device = ["-device", "virtio-net-device,netdev=net"]
        if self.side == "qemu-user":
            forwards = "".join(f",hostfwd=tcp:127.0.0.1:{port}-:{PORTS[name]}" for name, port in self.ports.items())
            forwards += f",hostfwd=udp:127.0.0.1:{self.ports['iperf']}-:{PORTS['iperf']}"
            return ["-netdev", f"user,id=net{forwards}", *device]
        # As root, passt becomes nobody.
        os.chmod(place, 0o777)
        path = os.path.join(place, "passt.socket")
        forwards = [word for name, port in self.ports.items() for word in ("-t", f"127.0.0.1/{port}:{PORTS[name]}")]
        forwards += ["-u", f"127.0.0.1/{self.ports['iperf']}:{PORTS['iperf']}"]
        self.helper = subprocess.Popen(
            [script("scripts/qemu", "passt"), "-f", "-q", "-1", "-s", path, "-a", "10.0.2.15", "-n", "255.255.255.0", "-g", "10.0.2.2",
             "-4", *forwards], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not os.path.exists(path):
            if time.monotonic() > deadline:
                raise CompareError("passt does not start: try it by hand, or use --skip qemu-passt")
            time.sleep(0.02)
        return ["-netdev", f"stream,id=net,server=off,addr.type=unix,addr.path={path}", *device]

    def wait(self):
        said, deadline = b"", time.monotonic() + TIMEOUT
        while b"@ready" not in said:
            if not select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
                self.fail(f"not ready after {TIMEOUT} s", said)
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                self.fail("ended", said)
            said += data

    def fail(self, why, said):
        self.end()
        raise CompareError(f"{self.side}: {why}; the end of what it said:\n{said.decode(errors='replace')[-2000:]}")

    def cpu(self):
        return sum(cpu_clock(p.pid) for p in (self.process, self.helper) if p)

    def end(self):
        for process in (self.process, self.helper):
            if process:
                process.kill()
                process.wait()
        self.process.stdout.close()

    def iperf(self, *options):
        """What a client's report of 3 s says of its end."""
        words = [tool("iperf3"), "-c", "127.0.0.1", "-p", str(self.ports["iperf"]), "-t", "3", "-J", *options]
        # The server takes a moment to end one test before the next.
        for _ in range(10):
            done = subprocess.run(words, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
            report = json.loads(done.stdout)
            if "error" not in report:
                return report["end"]
            time.sleep(0.5)
        raise CompareError(f"{self.side}: iperf3: {report['error']}")

    def speed(self, *options):
        """Gbit/s of a connection."""
        return self.iperf(*options)["sum_received"]["bits_per_second"] / 1e9

    def loss(self, *options):
        """Percent of datagrams that are lost at 100 Mbit/s, after all that were sent."""
        return self.iperf("-u", "-b", "100M", "-l", "1400", *options)["sum"]["lost_percent"]

    def ask(self, *words):
        """A figure of benches/guest/clients."""
        with socket.create_connection(("127.0.0.1", self.ports["clients"])) as stream:
            stream.settimeout(TIMEOUT)
            stream.sendall(" ".join(map(str, words)).encode() + b"\n")
            text = stream.makefile().read()
        if not text:
            raise CompareError(f"{self.side}: {words[0]} fails in the guest: see its messages")
        return float(text)

    def wrk(self, connections, *options):
        text = check([tool("wrk"), "-t", "1", "-c", str(connections), "-d", "3s", *options,
                      f"http://127.0.0.1:{self.ports['http']}/"])
        if "Non-2xx" in text:
            raise CompareError(f"{self.side}: wrong answers:\n{text}")
        return float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))

    def redis(self, test, count, clients, *options):
        text = check([tool("redis-benchmark"), "-p", str(self.ports["redis"]), "-t", test, "-n", str(count), "-c",
                      str(clients), "--csv", *options])
        rows = [line.split('","') for line in text.splitlines() if line.startswith('"') and '"test"' not in line]
        return median([float(row[1].strip('"')) for row in rows])

    def measure(self):
        """All figures."""
        out = {"in": self.speed(), "out": self.speed("-R")}
        out["http-1"], out["http-50"] = self.wrk(1), self.wrk(50)
        out["http-close"] = self.wrk(10, "-H", "Connection: close")
        out["ping"] = self.redis("ping_mbulk", 3000, 1)
        out["redis-1"], out["redis-16"] = self.redis("set,get", 10000, 10), self.redis("set,get", 40000, 10, "-P", "16")
        with Servers() as servers:
            out["fetch"] = self.ask("fetch", servers.http) / 1e6
            out["connect"] = self.ask("connect", servers.echo, 300)
            out["names"] = self.ask("names", servers.names, 500)
        out["udp-in"], out["udp-out"] = self.loss(), self.loss("-R")
        time.sleep(1)
        before = self.cpu()
        time.sleep(10)
        out["idle"] = self.cpu() - before
        return out


def measure(product, made, args):
    """Medians and samples of each figure by side, and Forelift's over the better of the others'."""
    sides = [side for side in SIDES if side not in args.skip]

    def sample(side):
        with tempfile.TemporaryDirectory(prefix="forelift-network.") as place:
            machine = Machine(side, product, made, args.memory, place)
            try:
                return machine.measure()
            finally:
                machine.end()

    samples = interleaved(sides, args.n, sample)
    figures = {}
    for name, unit in FIGURES.items():
        middle = {side: median([sample[name] for sample in samples[side]]) for side in sides}
        peers = [middle[side] for side in sides if side != "forelift"]
        figures[name] = {"unit": unit, "median": middle}
        if "forelift" in middle and peers and name not in NO_RATIO:
            better = min(peers) / middle["forelift"] if name in LESS else middle["forelift"] / max(peers)
            figures[name]["ratio"] = better
    return {"figures": figures, "samples": samples}


def start(product, made, runs):
    """Milliseconds that a start takes longer with --net, medians of interleaved runs."""
    times = {"without": [], "with": []}
    for _ in range(max(runs, 5)):
        for name, options in (("without", []), ("with", ["--net"])):
            begin = time.perf_counter()
            check(forelift(product, os.path.join(made, "network.cwasm"), *options) + ["echo", "hello"])
            times[name].append(1000 * (time.perf_counter() - begin))
    return {name: median(values) for name, values in times.items()}
