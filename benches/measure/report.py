"""The tables."""

import math


def columns(rows, right):
    """Prints rows of strings in columns; `right` tells how many at the end are aligned to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        left = len(row) - right
        cells = [c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())
    print(flush=True)


def spread(samples):
    """How much longer the slowest run took than the fastest."""
    values = [s["guest"] for s in samples]
    return f"{100 * (max(values) / min(values) - 1):.0f} %"


def verdict(figure):
    """Whether what was asked for was reached, by both ratios: on a busy host they may disagree."""
    target = figure["target"]
    if target is None:
        return ""
    reached = {figure[ratio] >= target for ratio in ("speed", "speed_by_cpu")}
    return f"{target:.2f} " + ("unclear" if len(reached) == 2 else "ok" if True in reached else "MISSED")


def mean(figures, ratio):
    """Geometric mean of a ratio over the workloads."""
    return math.exp(sum(math.log(f[ratio]) for f in figures.values()) / len(figures))


def guest(result):
    """Workloads in the guest."""
    print("\nIn the guest: seconds on the guest's clock, medians. Speed: Forelift's over QEMU's, higher is better;"
          "\n'by CPU' is the same ratio made of the emulators' processor time. Range: slowest run over fastest.\n")
    rows = [["workload", "QEMU", "range", "Forelift", "range", "speed", "by CPU", "asked for"]]
    figures = result["workloads"]
    for name, figure in figures.items():
        middle, samples = figure["median"], figure["samples"]
        rows.append([name, f"{middle['qemu']['guest']:.3f}", spread(samples["qemu"]),
                     f"{middle['forelift']['guest']:.3f}", spread(samples["forelift"]),
                     f"{figure['speed']:.2f}", f"{figure['speed_by_cpu']:.2f}", verdict(figure)])
    rows.append(["geometric mean", "", "", "", "", f"{mean(figures, 'speed'):.2f}",
                 f"{mean(figures, 'speed_by_cpu'):.2f}", ""])
    columns(rows, 7)


def start(result):
    """Start, idle, conversion."""
    print("Seen from outside: seconds from the process's start to its exit, medians.\n")
    rows = [["", "wall", "CPU", "peak RSS", "asked for"]]
    for name, figure in result["figures"].items():
        middle, target = figure["median"], figure["target"]
        asked = ""
        if target:
            kind, limit = target
            asked = f"{kind} {limit:g} {'ok' if middle[kind] <= limit else 'MISSED'}"
        rss = f"{middle['rss'] / 2**20:.0f} MiB" if "rss" in middle else ""
        rows.append([name, f"{middle['wall']:.3f}", f"{middle['cpu']:.3f}", rss, asked])
    columns(rows, 4)
    size = result["sizes"]
    mib = {name: f"{value / 2**20:.1f} MiB" for name, value in size.items()}
    peak = result["figures"]["convert python3 image"]["median"]["rss"]
    print(f"python3 image: root file system {mib['tar']} as a tar, {mib['erofs']} as EROFS; out.wasm {mib['wasm']}, "
          f"which is EROFS {size['wasm_minus_erofs'] / 2**20:+.1f} MiB (asked for: +24 at most); the converter's peak RSS is "
          f"{peak / size['tar']:.2f} of the tar (asked for: 3 at most)\n", flush=True)


def host(facts, runs):
    """What it was measured on."""
    before, after = (" ".join(f"{load:.2f}" for load in facts[key]) for key in ("load_before", "load_after"))
    print(f"{facts['date']}, medians of {runs}; {facts['cpu']}, {facts['cpus']} processors, load {before} before and "
          f"{after} after\n{facts['forelift']} ({facts['commit']}) against {facts['qemu']}")
    if facts["load_before"][0] > 1 or facts["load_after"][0] > facts["cpus"]:
        print("The host was busy with something else: trust 'by CPU' more than times.")
