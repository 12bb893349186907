"""The workloads inside the guest, on Forelift with lifted code and on QEMU."""

import os

from . import boots
from .images import WORKLOADS
from .tools import tool

# What is asked for, as Forelift's speed over QEMU's: the floor, below which something is wrong, and the mark.
TARGETS = {
    "mix": (1.0, 1.4),
    "gzip": (0.9, 1.3),
    "sha256": (0.9, 1.4),
    "nbody": (0.7, 1.2),
    "python-loop": (1.0, 1.5),
    "python-start": (1.5, 3.0),
    "forks": (6.0, 10.0),
    "dd": (4.0, 8.0),
}
# The same of the geometric mean over all workloads.
MEAN = (1.5, 2.5)


def qemu(product, bench, memory, command):
    """QEMU's command line. The guest's command follows `--`, which the kernel hands on to its init."""
    erofs = os.path.join(bench, "bench.erofs")
    cmdline = "root=/dev/vda rootfstype=erofs ro init=/bench/init console=ttyS0 quiet loglevel=1 -- "
    return [tool("qemu-system-riscv64"), "-machine", "virt", "-accel", "tcg", "-smp", "1", "-m", f"{memory}M",
            "-nographic", "-nodefaults", "-serial", "stdio", "-no-reboot", "-kernel", product.kernel,
            "-drive", f"file={erofs},format=raw,if=none,id=root,readonly=on", "-device", "virtio-blk-device,drive=root",
            "-device", "virtio-rng-device", "-append", cmdline + " ".join(command)]


def measure(product, bench, runs, only, memory):
    """Runs everything; the figures of each workload, and their geometric mean."""
    names, command = boots.chosen(only)
    sides = {
        "forelift": boots.forelift(product, os.path.join(bench, "bench.cwasm")) + command,
        "qemu": qemu(product, bench, memory, command),
    }
    result = boots.compare("guest", sides, names, runs)
    for name, figure in result["workloads"].items():
        figure["floor"], figure["mark"] = TARGETS.get(name, (None, None))
    mean = boots.mean(result["workloads"], WORKLOADS)
    result["mean"] = mean and {**mean, "floor": MEAN[0], "mark": MEAN[1]}
    return result
