"""Much through the network of one guest: bytes with their digests, connections, and what is left of them."""

import hashlib
import os
import re
import socket
import subprocess
import threading
import time

from .boots import forelift
from .tools import CompareError, log

PORT = 9000
# What the guest runs: a server that takes bytes, gives bytes, and answers words; and a client that connects.
GUEST = """
import hashlib, socket, sys, threading
block = b"".join(hashlib.sha256(n.to_bytes(4, "big")).digest() for n in range(1 << 15))
def serve(stream):
    with stream:
        what, count = stream.makefile("rb", buffering=0).readline().split()
        count = int(count)
        if what == b"take":
            digest, left, into = hashlib.sha256(), count, bytearray(1 << 20)
            while left:
                n = stream.recv_into(into, min(left, len(into)))
                if not n: break
                digest.update(memoryview(into)[:n]); left -= n
            stream.sendall(digest.hexdigest().encode())
        elif what == b"give":
            for at in range(0, count, len(block)): stream.sendall(block[:count - at])
        elif what == b"connect":
            port, good = count, 0
            for n in range(int(stream.recv(20))):
                with socket.create_connection(("10.0.2.2", port)) as other:
                    other.sendall(b"%08d" % n); good += other.recv(8) == b"%08d" % n
            stream.sendall(b"%d" % good)
listener = socket.create_server(("", 9000), backlog=1024)
print("@ready", flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


def block():
    """The guest's, 1 MiB."""
    return b"".join(hashlib.sha256(n.to_bytes(4, "big")).digest() for n in range(1 << 15))


class Guest:
    """A machine with the server."""

    def __init__(self, product, image):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        words = forelift(product, image, "--net", "--net-host-loopback", "-p", f"{self.port}:{PORT}")
        self.process = subprocess.Popen([*words, "python3", "-c", GUEST], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE)
        if b"@ready" not in self.process.stdout.readline():
            raise CompareError("the guest's server does not start")

    def ask(self, words):
        stream = socket.create_connection(("127.0.0.1", self.port))
        stream.sendall(words + b"\n")
        return stream

    def state(self):
        """Open descriptors, and resident MiB that are no guest RAM's."""
        place = f"/proc/{self.process.pid}"
        with open(f"{place}/status") as status:
            rss = int(re.search(r"RssAnon:\s+(\d+)", status.read()).group(1)) >> 10
        return {"descriptors": len(os.listdir(f"{place}/fd")), "rss_mib": rss}

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def take(guest, gigabytes):
    """The host's bytes to the guest."""
    digest, data = hashlib.sha256(), block()
    with guest.ask(b"take %d" % (gigabytes << 30)) as stream:
        for _ in range(gigabytes << 10):
            stream.sendall(data)
            digest.update(data)
        if stream.makefile().read() != digest.hexdigest():
            raise CompareError("the guest received other bytes than were sent")


def give(guest, gigabytes):
    """The guest's bytes to the host."""
    digest, data, into = hashlib.sha256(), block(), bytearray(1 << 20)
    with guest.ask(b"give %d" % (gigabytes << 30)) as stream:
        while length := stream.recv_into(into):
            digest.update(memoryview(into)[:length])
    expected = hashlib.sha256()
    for _ in range(gigabytes << 10):
        expected.update(data)
    if digest.digest() != expected.digest():
        raise CompareError("the host received other bytes than the guest sent")


def echo(listener):
    """Answers each connection with its first 8 bytes."""
    def answer(stream):
        with stream:
            data = b""
            while len(data) < 8 and (more := stream.recv(8)):
                data += more
            stream.sendall(data)

    while True:
        try:
            answer(listener.accept()[0])
        except OSError:
            return


def sequence(guest, count):
    """Connections of the guest's, one after the other."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        threading.Thread(target=echo, args=(listener,), daemon=True).start()
        with guest.ask(b"connect %d" % listener.getsockname()[1]) as stream:
            time.sleep(0.1)
            stream.sendall(b"%d" % count)
            good = int(stream.makefile().read() or 0)
        listener.shutdown(socket.SHUT_RDWR)
    if good != count:
        raise CompareError(f"{good} of {count} connections in sequence were right")


def together(guest, count):
    """Connections of the host's, open at once, that are all used."""
    streams = [socket.create_connection(("127.0.0.1", guest.port)) for _ in range(count)]
    for stream in streams:
        stream.sendall(b"take 3\nabc")
    expected = hashlib.sha256(b"abc").hexdigest()
    good = sum(stream.makefile().read() == expected for stream in streams)
    for stream in streams:
        stream.close()
    if good != count:
        raise CompareError(f"{good} of {count} connections at once were right")


def soak(product, made, gigabytes, connections):
    """Seconds of each step, and what the process holds before and after."""
    guest = Guest(product, os.path.join(made, "network.cwasm"))
    steps = [("in", take, gigabytes), ("out", give, gigabytes), ("in sequence", sequence, connections),
             ("at once", together, 1000)]
    try:
        # What stays for good is there after a first small round.
        take(guest, 1)
        give(guest, 1)
        sequence(guest, 100)
        together(guest, 1000)
        time.sleep(2)
        out = {"before": guest.state(), "seconds": {}}
        for name, step, count in steps:
            begin = time.perf_counter()
            step(guest, count)
            out["seconds"][name] = time.perf_counter() - begin
            log(f"{name}, {count}: {out['seconds'][name]:.1f} s")
        time.sleep(2)
        out["after"] = guest.state()
    finally:
        guest.end()
    if out["after"]["descriptors"] > out["before"]["descriptors"] + 2:
        raise CompareError(f"descriptors are left open: {out}")
    return out
