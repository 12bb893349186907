"""The tables."""

from .boots import RATIOS


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


def verdict(figure, key, reached=float.__ge__):
    """What was asked for under this key, and whether both ratios reach it: on a busy host they may
    disagree."""
    target = figure.get(key)
    if target is None:
        return ""
    found = {reached(figure[ratio], target) for ratio in RATIOS}
    return f"{target:.2f} " + ("unclear" if len(found) == 2 else "ok" if True in found else "MISSED")


def compared(result, names, ratio, means, asked, more=()):
    """The table of a comparison. `names` are the headings of the sides by their names in the result, in the
    order of the columns; `means` are last rows: heading, figure; `asked` is a list of columns: heading, key,
    comparison; `more` is one of others: heading, and what gives a figure's cell."""
    rows = [["workload", *(word for name in names.values() for word in (name, "range")), ratio, "by CPU",
             *(heading for heading, _ in more), *(heading for heading, _, _ in asked)]]

    def row(name, cells, figure):
        verdicts = (verdict(figure, key, reached) for _, key, reached in asked)
        others = (cell(figure) for _, cell in more)
        rows.append([name, *cells, *(f"{figure[r]:.2f}" for r in RATIOS), *others, *verdicts])

    for name, figure in result["workloads"].items():
        middle, samples = figure["median"], figure["samples"]
        row(name, [cell for s in names for cell in (f"{middle[s]['guest']:.3f}", spread(samples[s]))], figure)
    for name, figure in means:
        if figure:
            row(name, [""] * 2 * len(names), figure)
    columns(rows, 2 * len(names) + 2 + len(more) + len(asked))


def of_host(key):
    """What gives the cell of a figure beside the bare host."""
    return lambda figure: f"{figure['host'][key]:.2f}" if "host" in figure else ""


def guest(result):
    """Workloads in the guest."""
    print("\nIn the guest: seconds on the guest's clock, medians. Speed: Forelift's over QEMU's, higher is better;"
          "\n'by CPU' is the same ratio made of the emulators' processor time. Range: slowest run over fastest.")
    trained, measured = result["trained_on"], result["input"]
    if trained is not None:
        same = "the same input" if trained == measured else f"another input, {trained}"
        print(f"Forelift's image was trained on these programs with {same}.")
    names, more = {"qemu": "QEMU", "forelift": "Forelift"}, []
    if result["host_arch"]:
        names["host"] = "host"
        more = [("host, QEMU = 1", of_host("speed")), ("Forelift, host = 1", of_host("share"))]
        print(f"host: the same programs, built for {result['host_arch']}, on the bare host.")
    print()
    keys = [key for key in ("floor", "mark") if any(figure[key] for figure in result["workloads"].values())]
    asked = [(key, key, float.__ge__) for key in keys]
    means = [("geometric mean", result["mean"])]
    if asked:
        means.append(("of those with a floor", result["asked_mean"]))
    compared(result, names, "speed", means, asked, more)


def untrained(result):
    """With and without lifted code, hardly trained."""
    print("\nTrained on `sh -c true` only: seconds on the guest's clock, medians. Speed: that with lifted code over"
          "\nthat of the interpreter alone, higher is better.\n")
    means = [("geometric mean of " + ", ".join(result["kernel_bound"]), result["mean"])]
    compared(result, {"interp": "interp", "aot": "aot"}, "speed", means, [("asked for", "least", float.__ge__)])


def node(result):
    """On Node."""
    print("\nOn Node, the .wasm alone: seconds on the guest's clock, medians. Time: Node's over that of `forelift run`"
          "\nwith a compiled image, lower is better.\n")
    names = {"forelift": "forelift run", "node": "Node"}
    means = [("geometric mean", result["mean"])]
    compared(result, names, "time", means, [("asked for at most", "most", float.__le__)])
    peak = max(boot["rss"] for boot in result["boots"]["node"])
    print(f"Node's peak RSS: {peak / 2**20:.0f} MiB\n", flush=True)


def directories(result):
    """Mapped directories."""
    sides, mounts = list(result["boots"]), result["mounts"]
    print("\nOn directories: seconds on the guest's clock, medians, and the speed of the first over the second, higher is"
          "\nbetter; in brackets the same ratio made of the emulators' processor time.\n")
    heads = {"over_9p": "forelift/9p", "over_9p_mmap": "forelift/9p mmap", "tmpfs_over_tmpfs": "tmpfs/tmpfs",
             "of_tmpfs": "forelift/its tmpfs", "9p_of_tmpfs": "9p/its tmpfs"}
    pairs = list(result["mean"])
    asked = [("over_9p", "asked for at least")] if "over_9p" in pairs else []
    rows = [["workload", *sides, *(heads[pair] for pair in pairs), *(heading for _, heading in asked)]]

    def both(figure):
        return f"{figure['ratio']:.2f} ({figure['ratio_by_cpu']:.2f})"

    for name, figure in result["workloads"].items():
        seconds = (f"{figure['median'][side]['guest']:.3f}" for side in sides)
        verdicts = (verdict({**figure["pairs"][pair], "least": figure["least"]}, "least") for pair, _ in asked)
        rows.append([name, *seconds, *(both(figure["pairs"][pair]) for pair in pairs), *verdicts])
    rows.append(["geometric mean", *("" for _ in sides), *(both(mean) for mean in result["mean"].values()),
                 *("" for _ in asked)])
    columns(rows, len(rows[0]) - 1)
    for side in sides:
        print(f"{side}: {mounts[side]}")
    print(flush=True)


def network(result):
    """Servers in the guest, seen from the host."""
    print("\nThe network, medians. Ratio: Forelift's figure over the better of QEMU's.")
    figures = result["network"]["figures"]
    sides = list(next(iter(figures.values()))["median"])
    rows = [["", "unit", *sides, "ratio"]]
    for name, figure in figures.items():
        cells = [f"{figure['median'][side]:.3g}" for side in sides]
        rows.append([name, figure["unit"], *cells, f"{figure['ratio']:.2f}" if "ratio" in figure else ""])
    columns(rows, len(sides) + 1)
    if "start" in result:
        print(f"`echo hello`: {result['start']['without']:.1f} ms, with --net {result['start']['with']:.1f} ms\n")


def start(result):
    """Start, idle, conversion."""
    print("Seen from outside: seconds from the process's start to its exit, medians.\n")
    rows = [["", "wall", "CPU", "peak RSS", "asked for at most"]]
    for name, figure in result["figures"].items():
        middle, target = figure["median"], figure["target"]
        asked = ""
        if target:
            kind, limit = target
            asked = f"{kind} {limit:g} s {'ok' if middle[kind] <= limit else 'MISSED'}"
        rss = f"{middle['rss'] / 2**20:.0f} MiB" if "rss" in middle else ""
        rows.append([name, f"{middle['wall']:.3f}", f"{middle['cpu']:.3f}", rss, asked])
    columns(rows, 4)
    size = result["sizes"]
    mib = {name: f"{value / 2**20:.1f} MiB" for name, value in size.items()}
    beyond, most = size["wasm_minus_erofs"], size["target"]
    peak = result["figures"]["convert python3 image, empty cache"]["median"]["rss"]
    print(f"python3 image: root file system {mib['tar']} as a tar, {mib['erofs']} as EROFS; out.wasm {mib['wasm']}, "
          f"which is EROFS {beyond / 2**20:+.1f} MiB (asked for: {most / 2**20:+.1f} at most, "
          f"{'ok' if beyond <= most else 'MISSED'}); the converter's peak RSS is "
          f"{peak / size['tar']:.2f} of the tar (asked for: 3 at most)")
    lifting = result["lifting"]
    if lifting is None:
        return
    each, most = lifting["bytes_per_instruction"], lifting["target"]
    print(f"lifting: {lifting['instructions_per_cpu_second']:.0f} guest instructions per second of processor time; "
          f"{each:.1f} bytes of WebAssembly per guest instruction (asked for: {most} at most, "
          f"{'ok' if each <= most else 'MISSED'})\n", flush=True)


def host(facts, runs, against=None, busy="trust 'by CPU' more than times"):
    """What it was measured on: beside QEMU, if AGAINST names nothing else; BUSY is what to do about other
    work there."""
    before, after = (" ".join(f"{load:.2f}" for load in facts[key]) for key in ("load_before", "load_after"))
    print(f"{facts['arch']}, {facts['date']}, medians of {runs}; {facts['cpu']}, {facts['cpus']} processors, "
          f"load {before} before and {after} after\n{facts['forelift']} ({facts['commit']}) against {against or facts['qemu']}")
    if facts["load_before"][0] > 1 or facts["load_after"][0] > facts["cpus"]:
        print(f"The host was busy with something else: {busy}.")
