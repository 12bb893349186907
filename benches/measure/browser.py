"""Forelift's page beside v86's, in browsers, and beside `forelift run`."""

import json
import os
import subprocess

from . import boots
from .tools import CompareError, check, interleaved, median, script, tool

HERE = os.path.dirname(os.path.realpath(__file__))
BROWSERS = {"chromium": "chromium", "firefox": "firefox-esr"}
SIDES = ["forelift", "v86"]
PARTS = ["page", "workloads", "run"]


def version(browser):
    """Of a browser, as it says it."""
    return check([tool(BROWSERS[browser]), "--version"]).strip().partition(" built on")[0]


def session(browser, side, directory, workloads=()):
    """What browser_drive.mjs has measured."""
    words = [tool("node"), os.path.join(HERE, "browser_drive.mjs"), browser, side, directory, *workloads]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    if done.returncode != 0 or not done.stdout.strip():
        raise CompareError(f"{side} in {browser}: exit status {done.returncode}\n{done.stderr.strip()[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def ready(browsers):
    """What drives browsers, and they themselves."""
    script("tests/web/setup")
    for name in browsers:
        tool(BROWSERS[name])


def ratio(middle):
    """v86's figure over Forelift's; of all of them less is better."""
    if set(SIDES) - set(middle) or not middle["forelift"]:
        return None
    return middle["v86"] / middle["forelift"]


# Figures of a session with the shell: the unit, and what gives them.
SHELL = {
    "open-cold": ("s", lambda s: s["cold"]["answered"] / 1000),
    "open-warm": ("s", lambda s: s["warm"]["answered"] / 1000),
    "fetched": ("MB", lambda s: s["fetched"]["brotli"] / 1e6),
    "fetched-plain": ("MB", lambda s: s["fetched"]["plain"] / 1e6),
    "refetched": ("MB", lambda s: s["refetched"] / 1e6),
    "echo": ("ms", lambda s: median(s["echoes"])),
    "idle": ("CPU s in 10 s", lambda s: s["idle"]),
    "idle-empty": ("CPU s in 10 s", lambda s: s["emptyIdle"]),
    "memory": ("MiB", lambda s: s["memory"] / 2**20),
}
# What is of the browser alone, or near nothing, has no ratio.
NO_RATIO = ["refetched", "idle-empty"]


def page(directories, browser, runs):
    """A shell's page."""
    samples = interleaved(directories, runs, lambda side: session(browser, side, directories[side]),
                          f"page, {browser}")
    figures = {}
    for name, (unit, of) in SHELL.items():
        middle = {side: median([of(sample) for sample in samples[side]]) for side in samples}
        figures[name] = {"unit": unit, "median": middle}
        if name not in NO_RATIO:
            figures[name]["ratio"] = ratio(middle)
    return {"version": version(browser), "figures": figures, "samples": samples}


def workloads(directories, product, image, runs, names):
    """The workloads in the page, several times each, and by `forelift run` with the same image."""

    def measure(side):
        if side == "run":
            boot = boots.Boot("forelift run", boots.forelift(product, image) + ["/bench/workloads", *names])
            return {"runs": {name: [{**boot.samples[name], "check": boot.checks[name]}] for name in names}}
        return session("chromium", side, directories[side], names)

    sides = [*directories, *(["run"] if image else [])]
    samples = interleaved(sides, runs, measure, "workloads")
    figures = {}
    for name in names:
        agree(name, samples)
        # The first run, and the last one, when the engines have compiled what they will.
        first = {side: median([s["runs"][name][0]["guest"] for s in samples[side]]) for side in sides}
        last = {side: median([s["runs"][name][-1]["guest"] for s in samples[side]]) for side in sides}
        clocks = {side: median([run["page"] / run["guest"] for s in samples[side] for run in s["runs"][name]])
                  for side in directories}
        figures[name] = {"first": first, "last": last, "clocks": clocks, "ratio_first": ratio(first),
                         "ratio_last": ratio(last)}
        if "run" in sides and "forelift" in sides:
            figures[name]["run_first"] = first["forelift"] / first["run"]
            figures[name]["run_last"] = last["forelift"] / last["run"]
    keys = [key for key in ("ratio_first", "ratio_last", "run_first", "run_last") if figures[names[0]].get(key)]
    return {"figures": figures, "mean": boots.mean(figures, names, keys), "samples": samples}


def agree(name, samples):
    """All sides had the same output."""
    sums = {}
    for side, taken in samples.items():
        for run in (run for sample in taken for run in sample["runs"][name]):
            sums.setdefault(run["check"], set()).add(side)
    if len(sums) != 1:
        raise CompareError(f"workload {name}: the output differs: {sums}: one of them computes wrongly")
