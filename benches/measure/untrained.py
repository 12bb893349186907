"""The workloads in an image that was trained on next to nothing, so that hardly more than the kernel is
lifted: with lifted code, and interpreted throughout."""

import os

from . import boots

# What is asked for, as the speed with lifted code over that without: of every workload, ...
LEAST = 1.0
# ... and of the geometric mean over those that are the kernel's work.
KERNEL_BOUND = ["forks", "dd", "python-start"]
MEAN = 3.0


def measure(product, image, runs, only):
    """Runs everything with both engines."""
    names, command = boots.chosen(only)
    path = os.path.join(image, "untrained.cwasm")
    sides = {engine: boots.forelift(product, path, "--engine", engine) + command for engine in ("aot", "interp")}
    result = boots.compare("untrained", sides, names, runs)
    for figure in result["workloads"].values():
        figure["least"] = LEAST
    mean = boots.mean(result["workloads"], KERNEL_BOUND)
    result["kernel_bound"] = KERNEL_BOUND
    result["mean"] = mean and {**mean, "least": MEAN}
    return result
