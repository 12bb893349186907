"""Start, idle and conversion: the emulator's process seen from outside."""

import filecmp
import json
import os
import pty
import select
import shutil
import signal
import tempfile
import time

from . import guest
from .tools import ROOT, CompareError, check, cpu_clock, log, median, script, timed

# Seconds that the shell is idle for.
IDLE = 10
# What is asked for of all architectures; the rest is in arches.py.
TARGETS = {
    "hello, compiled image": ("wall", 0.060),
    "idle shell, 10 s": ("cpu", 0.2),
    "convert python3 image, empty cache": ("wall", 60.0),
    "convert python3 image, again": ("wall", 15.0),
}
# Bytes of WebAssembly per guest instruction, at most.
BYTES_PER_INSTRUCTION = 50


def qemu_hello(product, bench, memory):
    """From QEMU's start to its exit, with `echo hello` as the one command."""
    words = guest.qemu(product, os.path.join(bench, "bench.erofs"), memory, ["/bin/echo", "hello"])
    sample = timed(words)
    if "hello" not in sample["output"]:
        raise CompareError(f"qemu did not say hello:\n{sample['output']}")
    return sample


def other_hosts(wasm, hello):
    """Runs on hosts that are not ours, where they are installed."""
    hosts = os.path.join(ROOT, "tests", "hosts")
    found = {}
    try:
        python = script("tests/hosts/venv")
        words = [python, os.path.join(hosts, "run_wasmtime.py"), wasm, *hello]
        timed(words, b"hello\n")  # compiles, and keeps that beside the image
        found["hello, PyPI wasmtime, compiled"] = lambda: timed(words, b"hello\n")
    except CompareError as error:
        log(f"without PyPI's wasmtime: {error}")
    try:
        check(["node", "--version"])
        node = ["node", "--no-warnings", os.path.join(hosts, "run_node.mjs"), wasm, *hello]
        found["hello, node:wasi, .wasm"] = lambda: timed(node, b"hello\n")
    except (CompareError, OSError) as error:
        log(f"without Node: {error}")
    return found


def idle_shell(product, image):
    """A shell at its prompt on a terminal: processor seconds of the emulator in IDLE seconds, after two of
    rest."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(product.bin, [product.bin, "run", "-it", image, "sh"])
    try:
        seen = b""
        deadline = time.monotonic() + 60
        while b"# " not in seen:
            if not select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0]:
                raise CompareError(f"no prompt in 60 s: {seen!r}")
            seen += os.read(terminal, 4096)
        time.sleep(2)
        before, begin = cpu_clock(pid), time.monotonic()
        time.sleep(IDLE)
        sample = {"cpu": cpu_clock(pid) - before, "wall": time.monotonic() - begin}
        os.write(terminal, b"exit\n")
        return sample
    except OSError as error:
        raise CompareError(f"the shell ended before its time: {error}") from error
    finally:
        finish(pid, terminal)


def finish(pid, terminal):
    """Waits for a child that was told to end; kills it when it does not."""
    for _ in range(100):
        if os.waitpid(pid, os.WNOHANG)[0]:
            break
        time.sleep(0.05)
    else:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    os.close(terminal)


class Conversions:
    """Conversions of an image with a cache of their own: with nothing in it, and with what the last one left
    there."""

    def __init__(self, product, reference, work):
        self.words = [product.bin, "convert", "-q", "--json", reference]
        self.cache, self.out = os.path.join(work, "conversions"), os.path.join(work, "out.wasm")

    def convert(self, out):
        sample = timed([*self.words, out], env={"FORELIFT_CACHE": self.cache})
        said = json.loads(sample.pop("output"))
        sample["size"] = os.path.getsize(out)
        return {**sample, **{key: said.get(key) for key in ("stages", "lifted", "effort")}}

    def cold(self):
        shutil.rmtree(self.cache, ignore_errors=True)
        return self.convert(self.out)

    def warm(self):
        again = self.out + ".again"
        sample = self.convert(again)
        if not filecmp.cmp(self.out, again, shallow=False):
            raise CompareError(f"{' '.join(self.words)}: with its cache it made another image than without")
        os.remove(again)
        return sample


def lifting(cold):
    """Figures about lifting, of conversions without a cache."""
    if any(sample["lifted"] is None or sample["effort"] is None for sample in cold):
        raise CompareError("the conversion of the python3 image lifted nothing")
    lifted = cold[0]["lifted"]
    return {
        "instructions_per_cpu_second": median([sample["effort"]["instructions_per_second"] for sample in cold]),
        "instructions": lifted["instructions"],
        "bytes": lifted["bytes"],
        "bytes_per_instruction": lifted["bytes"] / lifted["instructions"],
        "target": BYTES_PER_INSTRUCTION,
    }


def sizes(rootfs, wasm, reference, product, work):
    """Sizes in bytes: the root file system as a tar and as EROFS, and the module."""
    erofs = os.path.join(work, "root.erofs")
    check([product.bin, "rootfs", "-q", reference, erofs])
    found = {"tar": os.path.getsize(rootfs), "erofs": os.path.getsize(erofs), "wasm": os.path.getsize(wasm)}
    os.remove(erofs)
    return {**found, "wasm_minus_erofs": found["wasm"] - found["erofs"], "wasm_minus_tar": found["wasm"] - found["tar"],
            "target": product.arch.beyond_root}


def measure(product, bench, python3, runs, memory):
    """All of it, `runs` times, interleaved. `python3` is what images.python3 gave."""
    rootfs, reference, made = python3
    wasm, cwasm = (os.path.join(made, "python3" + suffix) for suffix in (".wasm", ".cwasm"))
    hello = ["echo", "hello"]
    with tempfile.TemporaryDirectory(prefix=".compare.", dir=os.path.dirname(made)) as work:
        warm = {"FORELIFT_CACHE": os.path.join(work, "warm")}
        conversions = Conversions(product, reference, work)

        def cold():
            with tempfile.TemporaryDirectory(dir=work) as empty:
                return timed([product.bin, "run", wasm, *hello], b"hello\n", {"FORELIFT_CACHE": empty})

        timed([product.bin, "run", wasm, *hello], b"hello\n", warm)  # fills the cache
        jobs = {
            "hello, compiled image": lambda: timed([product.bin, "run", cwasm, *hello], b"hello\n"),
            "hello, .wasm, warm cache": lambda: timed([product.bin, "run", wasm, *hello], b"hello\n", warm),
            "hello, .wasm, empty cache": cold,
            **other_hosts(wasm, hello),
            "hello, qemu boots": lambda: qemu_hello(product, bench, memory),
            "idle shell, 10 s": lambda: idle_shell(product, cwasm),
            "convert python3 image, empty cache": conversions.cold,
            "convert python3 image, again": conversions.warm,
        }
        samples = {name: [] for name in jobs}
        for n in range(runs):
            log(f"start, idle, conversion: run {n + 1} of {runs}")
            for name, job in jobs.items():
                samples[name].append(job())
        size = sizes(rootfs, wasm, reference, product, work)
    figures, targets = {}, {**TARGETS, "hello, .wasm, empty cache": ("wall", product.arch.first_hello)}
    for name, taken in samples.items():
        middle = {k: median([s[k] for s in taken]) for k in taken[0] if isinstance(taken[0][k], (int, float))}
        figures[name] = {"median": middle, "target": targets.get(name), "samples": taken}
    conversion = lifting(samples["convert python3 image, empty cache"]) if product.arch.lifted else None
    return {"figures": figures, "sizes": size, "lifting": conversion}
