"""The workloads on Node, which is given the .wasm alone, and on `forelift run`."""

import os

from . import boots
from .images import WORKLOADS
from .tools import ROOT, tool

# What is asked for: Node's time over that of `forelift run`.
MOST = 1.25


def measure(product, bench, runs, only):
    """Runs everything on both."""
    names, command = boots.chosen(only)
    host = [tool("node"), "--no-warnings", os.path.join(ROOT, "tests", "hosts", "run_node.mjs")]
    sides = {
        "forelift": boots.forelift(product, os.path.join(bench, "bench.cwasm")) + command,
        "node": [*host, os.path.join(bench, "bench.wasm"), *command],
    }
    result = boots.compare("node", sides, names, runs)
    for figure in result["workloads"].values():
        figure["most"] = MOST
    result["mean"] = boots.mean(result["workloads"], WORKLOADS)
    return result
