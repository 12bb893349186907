"""The workloads inside the guest, on two or more sides that are compared.

One boot runs all workloads, in the order of benches/guest/workloads; boots of the sides alternate, and which
of them is first changes from round to round. The guest's lines that begin with @ are read as they come: at
`@start` and `@end` of a workload the emulator's processor time is noted. A side without an emulator is judged
by the processor time of the workload itself."""

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
    """One boot and what its guest said, or one run of the same on the bare host (`emulated` is false)."""

    def __init__(self, name, words, emulated=True):
        self.name, self.emulated = name, emulated
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self.samples, self.checks, self.notes, self.other, self.started = {}, {}, {}, [], {}
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
            cpu = cpu_clock(self.process.pid) - self.started[name] if self.emulated else user + system
            self.samples[name] = {"guest": wall, "guest_user": user, "guest_system": system, "host_cpu": cpu}
        elif word == "@check":
            self.checks[fields[0]] = fields[1]
        elif word == "@note":
            self.notes[fields[0]] = " ".join(fields[1:])
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


def interleave(part, sides, runs, bare=(), before=None, after=None, every_round=None):
    """Boots the sides, given as command lines by name, `runs` times each; the boots by side. Those in `bare`
    have no emulator. `before` is called with the side's name, `after` with its boot, `every_round` with all
    boots so far."""
    boots, order = {side: [] for side in sides}, list(sides)
    for n in range(runs):
        for side in order:
            if before:
                before(side)
            boot = Boot(side, sides[side], side not in bare)
            if after:
                after(boot)
            boots[side].append(boot)
            log(f"{part}: run {n + 1} of {runs}, {side}: {boot.wall:.1f} s")
        if every_round:
            every_round(boots)
        order = order[1:] + order[:1]
    return boots


def middle(samples):
    """The medians of samples, each a dictionary with the same keys."""
    return {kind: median([sample[kind] for sample in samples]) for kind in samples[0]}


def ratios(of, to):
    """How many times faster a side with the medians `to` is than one with the medians `of`."""
    return {"ratio": of["guest"] / to["guest"], "ratio_by_cpu": of["host_cpu"] / to["host_cpu"]}


def totals(boots):
    return {side: [{"wall": b.wall, "cpu": b.cpu, "rss": b.rss} for b in boots[side]] for side in boots}


def compare(part, sides, names, runs, bare=(), own_output=()):
    """Runs all sides. The ratios are the second side's time over the first one's: how many times faster the
    first one is. A side in `bare` has no emulator; its output differs by right in the workloads
    `own_output`."""
    first, second = list(sides)[:2]

    def verify_all(boots):
        verify([boot for side in sides if side not in bare for boot in boots[side]], names)
        for side in bare:
            verify(boots[side] + boots[first], [name for name in names if name not in own_output])
            verify(boots[side], names)

    # What computes wrongly does so in the first round already.
    boots = interleave(part, sides, runs, bare, every_round=verify_all)
    figures = {}
    for name in names:
        samples = {side: [boot.samples[name] for boot in boots[side]] for side in sides}
        middles = {side: middle(samples[side]) for side in sides}
        figures[name] = {
            **ratios(middles[second], middles[first]),
            "check": boots[first][0].checks[name],
            "median": middles,
            "samples": samples,
        }
    return {"workloads": figures, "boots": totals(boots), "commands": sides}


def mean(figures, names, keys=RATIOS):
    """Geometric means of the ratios over these workloads, or `None` when not all of them were run."""
    if not all(name in figures for name in names):
        return None
    return {ratio: math.exp(sum(math.log(figures[n][ratio]) for n in names) / len(names)) for ratio in keys}
