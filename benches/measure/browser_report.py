"""The tables of benches/browser."""

from . import report
from .report import columns

TITLES = {"forelift": "Forelift", "v86": "v86", "run": "forelift run"}


def page(result):
    """A shell's page."""
    print(f"\nA shell's page in {result['version']}, medians. Ratio: v86's figure over Forelift's; more is"
          "\nbetter for Forelift.\n")
    figures = result["figures"]
    sides = list(next(iter(figures.values()))["median"])
    rows = [["", "unit", *(TITLES[side] for side in sides), "ratio"]]
    for name, figure in figures.items():
        cells = [f"{figure['median'][side]:.3g}" for side in sides]
        rows.append([name, figure["unit"], *cells, f"{figure['ratio']:.2f}" if figure.get("ratio") else ""])
    columns(rows, len(sides) + 1)


def workloads(result):
    """The workloads in the page."""
    print("Workloads in Chromium: seconds on the guest's clock, medians; the first run in a page, and the third one."
          "\nSpeed: v86's time over Forelift's, higher is better. Beside run: the page's time over that of `forelift run`,"
          "\nlower is better.\n")
    figures = result["figures"]
    first = next(iter(figures.values()))
    sides, pages = list(first["first"]), list(first["clocks"])
    kinds = {"ratio_first": "speed, 1st", "ratio_last": "3rd", "run_first": "beside run, 1st", "run_last": "3rd"}
    kinds = {key: title for key, title in kinds.items() if first.get(key)}
    others = [side for side in sides if side not in pages]
    rows = [["workload", *(title for side in pages for title in (f"{TITLES[side]}, 1st", "3rd")),
             *(TITLES[side] for side in others), *kinds.values()]]
    for name, figure in figures.items():
        times = [f"{figure[when][side]:.3f}" for side in pages for when in ("first", "last")]
        times += [f"{figure['first'][side]:.3f}" for side in others]
        rows.append([name, *times, *(f"{figure[key]:.2f}" for key in kinds)])
    if kinds:
        blank = [""] * (2 * len(pages) + len(others))
        rows.append(["geometric mean", *blank, *(f"{result['mean'][key]:.2f}" for key in kinds)])
    columns(rows, len(rows[0]) - 1)
    worst = max(abs(clock - 1) for figure in figures.values() for clock in figure["clocks"].values())
    print(f"The page's clock and the guests' differ by {100 * worst:.1f} % at most.\n", flush=True)


def v86(about):
    """How v86's machines were made."""
    for part, facts in about.items():
        print(f"v86's machine for '{part}': {', '.join(facts['packages'])}; {facts['memory_mib']} MiB; its state is "
              f"{facts['state'] / 1e6:.1f} MB, {facts['state_zstd'] / 1e6:.1f} MB by zstd, saved in Node "
              f"{facts['boot']:.0f} s after its start; its files are {facts['files'] / 1e6:.1f} MB")


def host(facts, runs):
    """What it was measured on."""
    report.host(facts, runs, f"v86 {facts['v86']}", "repeat it when it is quiet")
