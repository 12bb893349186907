"""The workloads inside the guest, on Forelift (with lifted code, where there is a lifter) and on QEMU."""

import functools
import os
import tempfile

from . import boots
from .images import COMPILE, WORKLOADS
from .tools import check, tool


@functools.cache
def ticks():
    """The frequency in kHz of the time-stamp counter in QEMU."""
    source = os.path.join(os.path.dirname(os.path.realpath(__file__)), "ticks.c")
    with tempfile.TemporaryDirectory() as work:
        program = os.path.join(work, "ticks")
        check([tool("gcc"), *COMPILE, "-o", program, source])
        return int(check([program]))


def qemu(product, bench, memory, command):
    """QEMU's command line. The guest's command follows `--`, which the kernel hands on to its init."""
    erofs = os.path.join(bench, "bench.erofs")
    told = [f"tsc_early_khz={ticks()}", "tsc=reliable"] if product.arch.tell_ticks else []
    cmdline = [*product.arch.cmdline, "root=/dev/vda", "rootfstype=erofs", "ro", "init=/bench/init", "console=ttyS0",
               "quiet", "loglevel=1", *told, "--", *command]
    return [tool(product.arch.qemu), *product.arch.machine, "-accel", "tcg", "-smp", "1", "-m", f"{memory}M",
            "-nographic", "-nodefaults", "-serial", "stdio", "-no-reboot", "-kernel", product.kernel,
            "-drive", f"file={erofs},format=raw,if=none,id=root,readonly=on", "-device", "virtio-blk-device,drive=root",
            "-device", "virtio-rng-device", "-append", " ".join(cmdline)]


def measure(product, bench, runs, only, memory):
    """Runs everything; the figures of each workload, and geometric means: of all, and of those of which something is asked."""
    names, command = boots.chosen(only)
    sides = {
        "forelift": boots.forelift(product, os.path.join(bench, "bench.cwasm")) + command,
        "qemu": qemu(product, bench, memory, command),
    }
    result = boots.compare("guest", sides, names, runs)
    for name, figure in result["workloads"].items():
        figure["floor"], figure["mark"] = product.arch.speeds.get(name, (None, None))
    result["mean"] = boots.mean(result["workloads"], WORKLOADS)
    asked = boots.mean(result["workloads"], list(product.arch.speeds))
    floor, mark = product.arch.mean
    result["asked_mean"] = asked and {**asked, "floor": floor, "mark": mark}
    return result
