"""The tables."""


def columns(rows, right):
    """Prints rows of strings in columns; `right` tells how many at the end are aligned to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        left = len(row) - right
        cells = [c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())
    print(flush=True)


def spread(samples):
    """Largest distance of a sample from the median's side, as the range over the smallest."""
    values = [s["guest"] for s in samples]
    return f"{100 * (max(values) / min(values) - 1):.0f} %"


def guest(result):
    """Workloads in the guest."""
    print("\nIn the guest: seconds on the guest's clock, medians. Speed: Forelift's over QEMU's, higher is better;"
          "\n'by CPU' is the same ratio made of the emulators' processor time. Range: slowest run over fastest.\n")
    rows = [["workload", "QEMU", "range", "Forelift", "range", "speed", "by CPU", "asked for"]]
    product = 1.0
    for name, figure in result["workloads"].items():
        middle, samples = figure["median"], figure["samples"]
        product *= figure["speed"]
        target = figure["target"]
        verdict = "" if target is None else f"{target:.2f} {'ok' if figure['speed'] >= target else 'MISSED'}"
        rows.append([name, f"{middle['qemu']['guest']:.3f}", spread(samples["qemu"]),
                     f"{middle['forelift']['guest']:.3f}", spread(samples["forelift"]),
                     f"{figure['speed']:.2f}", f"{figure['speed_by_cpu']:.2f}", verdict])
    mean = product ** (1 / len(result["workloads"]))
    rows.append(["geometric mean", "", "", "", "", f"{mean:.2f}", "", ""])
    columns(rows, 7)


def start(result):
    """Start, idle, conversion."""
    print("Seen from outside: seconds from the process's start to its exit, medians.\n")
    rows = [["", "wall", "CPU", "peak RSS", "asked for"]]
    for name, figure in result["figures"].items():
        middle, target = figure["median"], figure["target"]
        verdict = ""
        if target:
            kind, limit = target
            verdict = f"{kind} {limit:g} {'ok' if middle[kind] <= limit else 'MISSED'}"
        rss = f"{middle['rss'] / 2**20:.0f} MiB" if "rss" in middle else ""
        rows.append([name, f"{middle['wall']:.3f}", f"{middle['cpu']:.3f}", rss, verdict])
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
