"""The workloads inside the guest, on Forelift (with lifted code, where there is a lifter) and on QEMU, and
the same programs without a guest, on the bare host.

On the host the root file system of its own architecture is run by chroot, with the workloads, the timer and
the tmpfs that the guests have. It tells what emulation costs."""

import functools
import os
import platform
import tempfile

from . import arches, boots, images
from .images import COMPILE, INPUT, WORKLOADS
from .tools import CompareError, check, tool

# Workloads whose output depends on the architecture, and so the host's may differ from the guest's: gcc's
# code, and nbody's last digits (riscv64 has fused multiply-add, which rounds once; the baseline of amd64 has
# none).
OF_THE_ARCHITECTURE = ["gcc", "nbody"]
# Makes what the guest has around a command and runs it, in namespaces of its own.
ENTER = """set -e
root=$1
shift
mount --bind /dev "$root/dev"
mount -t tmpfs -o nosuid,mode=1777,size=65536k tmpfs "$root/dev/shm"
mount -t proc proc "$root/proc"
exec chroot "$root" "$@"
"""
ENVIRONMENT = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"]


@functools.cache
def ticks():
    """The frequency in kHz of the time-stamp counter in QEMU."""
    source = os.path.join(os.path.dirname(os.path.realpath(__file__)), "ticks.c")
    with tempfile.TemporaryDirectory() as work:
        program = os.path.join(work, "ticks")
        check([tool("gcc"), *COMPILE, "-o", program, source])
        return int(check([program]))


def qemu(product, root, memory, command, devices=()):
    """QEMU's command line. The guest's command follows `--`, which the kernel hands on to its init."""
    told = [f"tsc_early_khz={ticks()}", "tsc=reliable"] if product.arch.tell_ticks else []
    cmdline = [*product.arch.cmdline, "root=/dev/vda", "rootfstype=erofs", "ro", "init=/bench/init", "console=ttyS0",
               "quiet", "loglevel=1", *told, "--", *command]
    return [product.qemu, *product.arch.machine, "-accel", "tcg", "-smp", "1", "-m", f"{memory}M",
            "-nographic", "-nodefaults", "-serial", "stdio", "-no-reboot", "-kernel", product.kernel,
            "-drive", f"file={root},format=raw,if=none,id=root,readonly=on", "-device", "virtio-blk-device,drive=root",
            *devices, "-device", "virtio-rng-device", "-append", " ".join(cmdline)]


def host_arch():
    """This machine's, if the workloads can be run on it."""
    arch = arches.ARCHES.get(platform.machine())
    if not arch:
        raise CompareError(f"there is no root file system for this host, {platform.machine()}: use --skip host")
    if os.geteuid() != 0:
        raise CompareError("the bare host is measured by chroot, which needs root: use --skip host")
    return arch


def bare(root, command):
    """The command line that runs a command of the root file system on the bare host."""
    return [tool("unshare"), "--mount", "--pid", "--fork", "--kill-child", "env", "-i", *ENVIRONMENT, "sh", "-c", ENTER,
            "sh", root, *command]


def measure(product, bench, runs, only, memory, host, trained_on):
    """Runs everything; the figures of each workload, and geometric means: of all, and of those of which
    something is asked. `host` is the unpacked root file system for the bare host, or `None`."""
    names, command = boots.chosen(only)
    sides = {
        "forelift": boots.forelift(product, os.path.join(bench, "bench.cwasm")) + command,
        "qemu": qemu(product, os.path.join(bench, "bench.erofs"), memory, command),
    }
    bares, own_output = [], []
    if host:
        sides["host"] = bare(host, command)
        bares = ["host"]
        own_output = [] if host_arch() == product.arch else OF_THE_ARCHITECTURE
    result = boots.compare("guest", sides, names, runs, bares, own_output)
    figures = result["workloads"]
    for name, figure in figures.items():
        figure["floor"], figure["mark"] = product.arch.speeds.get(name, (None, None))
        if host:
            figure["host"] = beside_host(figure["median"])
    result["mean"] = boots.mean(figures, WORKLOADS)
    if host and result["mean"]:
        hosts = {name: figure["host"] for name, figure in figures.items()}
        result["mean"]["host"] = boots.mean(hosts, WORKLOADS, ("speed", "share"))
    asked = boots.mean(figures, list(product.arch.speeds))
    floor, mark = product.arch.mean
    result["asked_mean"] = asked and {**asked, "floor": floor, "mark": mark}
    result["input"], result["trained_on"] = INPUT, trained_on if product.arch.lifted else None
    result["host_arch"] = host_arch().name if host else None
    return result


def beside_host(medians):
    """The host's speed when QEMU's is 1, and Forelift's when the host's is 1."""
    seconds = {side: median["guest"] for side, median in medians.items()}
    return {"speed": seconds["qemu"] / seconds["host"], "share": seconds["host"] / seconds["forelift"]}
