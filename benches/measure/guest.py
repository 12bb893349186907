"""The workloads inside the guest, in both emulators.

One boot runs all workloads, in the order of benches/guest/workloads; boots of the two emulators alternate, and which of
them is first changes from round to round. The guest's lines that begin with @ are read as they come: at `@start` and
`@end` of a workload the emulator's processor time is noted."""

import os
import select
import subprocess
import time

from .images import WORKLOADS
from .tools import CompareError, cpu_clock, log, median, tool

# What issue 2 asks for, as Forelift's speed over QEMU's.
TARGETS = {"mix": 0.18, "sha256": 0.10, "forks": 3.0, "dd": 1.8}
TIMEOUT = 1800


def forelift(product, bench, memory):
    """`forelift run`'s command line, up to the guest's command."""
    del memory  # decided when the image was converted
    return [product.bin, "run", os.path.join(bench, "bench.cwasm")]


def qemu(product, bench, memory, command):
    """QEMU's command line. The guest's command follows `--`, which the kernel hands on to its init."""
    erofs = os.path.join(bench, "bench.erofs")
    cmdline = "root=/dev/vda rootfstype=erofs ro init=/bench/init console=ttyS0 quiet loglevel=1 -- "
    return [tool("qemu-system-riscv64"), "-machine", "virt", "-accel", "tcg", "-smp", "1", "-m", f"{memory}M",
            "-nographic", "-nodefaults", "-serial", "stdio", "-no-reboot", "-kernel", product.kernel,
            "-drive", f"file={erofs},format=raw,if=none,id=root,readonly=on", "-device", "virtio-blk-device,drive=root",
            "-device", "virtio-rng-device", "-append", cmdline + " ".join(command)]


class Boot:
    """One boot and what its guest said."""

    def __init__(self, name, words):
        self.name = name
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self.samples, self.checks, self.other, self.started = {}, {}, [], {}
        self.done = False
        begin = time.monotonic()
        try:
            self.read(begin + TIMEOUT)
        finally:
            self.process.stdout.close()
            if not self.done:
                self.process.kill()
            _, status, usage = os.wait4(self.process.pid, 0)
            self.process.returncode = os.waitstatus_to_exitcode(status)
        self.wall = time.monotonic() - begin
        self.cpu = usage.ru_utime + usage.ru_stime
        if self.process.returncode != 0 or not self.done:
            self.fail(f"exit status {self.process.returncode}")

    def fail(self, why):
        raise CompareError(f"{self.name}: {why}; the end of what it said:\n" + "\n".join(self.other[-20:]))

    def read(self, deadline):
        rest, fd = b"", self.process.stdout.fileno()
        while True:
            if not select.select([fd], [], [], max(0, deadline - time.monotonic()))[0]:
                self.fail(f"not done after {TIMEOUT} s")
            data = os.read(fd, 65536)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self.line(line.decode(errors="replace").strip())

    def line(self, line):
        word, *fields = line.split() or [""]
        if word == "@start":
            self.started[fields[0]] = cpu_clock(self.process.pid)
        elif word == "@end":
            name, wall, user, system = fields[0], *(int(f) / 1e9 for f in fields[1:])
            cpu = cpu_clock(self.process.pid) - self.started[name]
            self.samples[name] = {"guest": wall, "guest_user": user, "guest_system": system, "host_cpu": cpu}
        elif word == "@check":
            self.checks[fields[0]] = fields[1]
        elif word == "@done":
            self.done = True
        elif line:
            self.other.append(line)


def verify(boots, names):
    """Every workload ran in every boot, with the same output."""
    for name in names:
        sums = {}
        for boot in boots:
            if name not in boot.samples or name not in boot.checks:
                boot.fail(f"workload {name} has no result")
            sums.setdefault(boot.checks[name], []).append(boot.name)
        if len(sums) != 1:
            raise CompareError(f"workload {name}: the output differs: {sums}: one of the emulators computes wrongly")


def measure(product, bench, runs, only, memory):
    """Runs everything; the figures of each workload."""
    names = [name for name in WORKLOADS if not only or name in only]
    command = ["/bench/workloads", *names]
    sides = {
        "forelift": lambda: Boot("forelift", forelift(product, bench, memory) + command),
        "qemu": lambda: Boot("qemu", qemu(product, bench, memory, command)),
    }
    boots = {side: [] for side in sides}
    for n in range(runs):
        for side in sorted(sides, reverse=n % 2 == 1):
            boot = sides[side]()
            boots[side].append(boot)
            log(f"run {n + 1} of {runs}, {side}: {boot.wall:.1f} s")
    verify(boots["forelift"] + boots["qemu"], names)
    figures = {}
    for name in names:
        samples = {side: [boot.samples[name] for boot in boots[side]] for side in sides}
        middle = {side: {kind: median([s[kind] for s in samples[side]]) for kind in samples[side][0]} for side in sides}
        figures[name] = {
            "speed": middle["qemu"]["guest"] / middle["forelift"]["guest"],
            "speed_by_cpu": middle["qemu"]["host_cpu"] / middle["forelift"]["host_cpu"],
            "target": TARGETS.get(name),
            "check": boots["qemu"][0].checks[name],
            "median": middle,
            "samples": samples,
        }
    totals = {side: [{"wall": b.wall, "cpu": b.cpu} for b in boots[side]] for side in sides}
    return {"workloads": figures, "boots": totals, "qemu_command": qemu(product, bench, memory, command)}
