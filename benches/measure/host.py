"""What the figures were measured on and with."""

import os
import platform
import subprocess
import time

from .tools import ROOT, check, tool


def first_line(words):
    try:
        return check(words).splitlines()[0]
    except (OSError, IndexError):
        return None


def describe(product):
    """Processor, load, versions."""
    with open("/proc/cpuinfo") as info:
        models = [line.split(":", 1)[1].strip() for line in info if line.startswith("model name")]
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, text=True)
    return {
        "arch": product.arch.name,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cpu": models[0] if models else platform.processor(),
        "cpus": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "load_before": os.getloadavg(),
        "forelift": first_line([product.bin, "--version"]),
        "commit": commit.stdout.strip() or None,
        "qemu": first_line([product.qemu, "--version"]),
        "gcc": first_line([tool(product.arch.gcc), "--version"]),
    }
