"""The workloads inside the guest, on two sides that are compared.

One boot runs all workloads, in the order of benches/guest/workloads; boots of the two sides alternate, and which of
them is first changes from round to round. The guest's lines that begin with @ are read as they come: at `@start` and
`@end` of a workload the emulator's processor time is noted."""

import math
import os
import select
import subprocess
import time

from .images import WORKLOADS
from .tools import CompareError, cpu_clock, log, median

TIMEOUT = 1800
# Figures of a workload: the ratio of times on the guest's clock, and of the emulators' processor times.
RATIOS = ("ratio", "ratio_by_cpu")


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
        self.rss = usage.ru_maxrss * 1024
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
            raise CompareError(f"workload {name}: the output differs: {sums}: one of them computes wrongly")


def chosen(only):
    """The workloads that were asked for, and the guest's command that runs them."""
    names = [name for name in WORKLOADS if not only or name in only]
    return names, ["/bench/workloads", *names]


def forelift(product, image, *options):
    """`forelift run`'s command line, up to the guest's command."""
    return [product.bin, "run", *options, image]


def compare(part, sides, names, runs):
    """Boots both sides, given as command lines by name, `runs` times each. The ratios are the second side's time over
    the first one's: how many times faster the first one is."""
    boots = {side: [] for side in sides}
    first, second = sides
    for n in range(runs):
        for side in [first, second] if n % 2 == 0 else [second, first]:
            boot = Boot(side, sides[side])
            boots[side].append(boot)
            log(f"{part}: run {n + 1} of {runs}, {side}: {boot.wall:.1f} s")
    verify(boots[first] + boots[second], names)
    figures = {}
    for name in names:
        samples = {side: [boot.samples[name] for boot in boots[side]] for side in sides}
        middle = {side: {kind: median([s[kind] for s in samples[side]]) for kind in samples[side][0]} for side in sides}
        figures[name] = {
            "ratio": middle[second]["guest"] / middle[first]["guest"],
            "ratio_by_cpu": middle[second]["host_cpu"] / middle[first]["host_cpu"],
            "check": boots[first][0].checks[name],
            "median": middle,
            "samples": samples,
        }
    totals = {side: [{"wall": b.wall, "cpu": b.cpu, "rss": b.rss} for b in boots[side]] for side in sides}
    return {"workloads": figures, "boots": totals, "commands": sides}


def mean(figures, names):
    """Geometric means of the ratios over these workloads, or `None` when not all of them were run."""
    if not all(name in figures for name in names):
        return None
    return {ratio: math.exp(sum(math.log(figures[n][ratio]) for n in names) / len(names)) for ratio in RATIOS}
