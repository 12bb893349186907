"""The images that are measured, and the command that makes them."""

import os
import shutil
import tarfile

from .tools import ROOT, CompareError, cached, check, fingerprint, script, tool

GUEST = os.path.join(ROOT, "benches", "guest")
# Compiled, statically, for the guest.
PROGRAMS = ["mix", "nbody", "timed", "init"]
# As they are; mix.c is what the guest's gcc compiles.
FILES = ["workloads", "mix.c"]
COMPILE = ["-O2", "-static", "-Wall", "-Wextra", "-Werror"]


# What is measured inside the guest, in the order of benches/guest/workloads.
WORKLOADS = ["mix", "nbody", "sha256", "gzip", "xz", "python-start", "python-loop", "sqlite", "awk", "gcc", "forks", "dd"]


class Product:
    """The command under test with its files."""

    def __init__(self):
        self.bin = os.environ.get("FORELIFT_BIN") or os.path.join(ROOT, "target", "dist", "bin", "forelift")
        if not os.path.isfile(self.bin):
            raise CompareError(f"{self.bin} does not exist: run scripts/build, or set FORELIFT_BIN")
        beside = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(self.bin))), "share", "forelift")
        self.assets = os.environ.get("FORELIFT_ASSETS") or beside
        self.kernel = os.path.join(self.assets, "Image-riscv64")
        names = ("runtime-riscv64.wasm", "init-riscv64", "Image-riscv64", "System.map-riscv64")
        self.files = [self.bin] + [os.path.join(self.assets, name) for name in names]
        for path in self.files:
            if not os.path.isfile(path):
                raise CompareError(f"{path} does not exist: run scripts/build, or set FORELIFT_ASSETS")

    def convert(self, reference, out, *options):
        """Converts, without what other conversions left in a cache, and compiles to OUT with .cwasm."""
        check([self.bin, "convert", "-q", "--no-cache", *options, reference, out])
        check([self.bin, "compile", "-q", out, os.path.splitext(out)[0] + ".cwasm"])


def layer(out):
    """The guest programs as a layer with /bench."""
    work = os.path.join(os.path.dirname(out), "programs")
    os.mkdir(work)
    for name in PROGRAMS:
        check([tool("riscv64-linux-gnu-gcc"), *COMPILE, "-o", os.path.join(work, name),
               os.path.join(GUEST, name + ".c"), "-lm"])

    def plain(info):
        info.uid = info.gid = info.mtime = 0
        info.uname = info.gname = ""
        info.mode = 0o755
        return info

    with tarfile.open(out, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in FILES:
            shutil.copy(os.path.join(GUEST, name), work)
        tar.add(work, arcname="bench", filter=plain)
    shutil.rmtree(work)


def root(out):
    """The root file system with the measured programs, as an image in the directory OUT; its reference."""
    tar, archive = os.path.join(out, "layer.tar"), os.path.join(out, "image")
    layer(tar)
    rootfs = script("scripts/rootfs", "bench")
    script("scripts/mkimage", "--compression", "none", "--cmd", "/bench/workloads", f"{rootfs},{tar}", archive)
    os.remove(tar)
    return f"oci:{archive}"


def root_key(product, memory):
    """What images of that root depend on."""
    sources = [os.path.join(GUEST, n) for n in [p + ".c" for p in PROGRAMS] + FILES]
    return fingerprint(script("scripts/rootfs", "bench"), memory, *COMPILE, *sources, *product.files, __file__)


def bench(product, memory):
    """The image with the measured programs: `bench.wasm`, `bench.cwasm` for `forelift run`, `bench.erofs` for QEMU."""

    def make(out):
        reference = root(out)
        # Each workload is trained on by itself, as the image of its own would be; together they want more than the
        # default budget.
        training = [word for name in WORKLOADS for word in ("--train", f"/bench/workloads {name}")]
        options = ["--memory", f"{memory}M", *training, "--lift", "16M"]
        product.convert(reference, os.path.join(out, "bench.wasm"), *options)
        check([product.bin, "rootfs", "-q", reference, os.path.join(out, "bench.erofs")])
        shutil.rmtree(os.path.join(out, "image"))

    return cached("bench", root_key(product, memory), make)


def untrained(product, memory):
    """The same, trained on a command that does nothing: `untrained.cwasm`."""

    def make(out):
        wasm = os.path.join(out, "untrained.wasm")
        product.convert(root(out), wasm, "--memory", f"{memory}M", "--train", "sh -c true")
        shutil.rmtree(os.path.join(out, "image"))
        os.remove(wasm)

    return cached("untrained", root_key(product, memory), make)


def python3(product):
    """A Debian image with python3 as registries have it (OCI, gzip): its reference, and a directory with
    `python3.wasm` and `python3.cwasm`."""
    rootfs = script("scripts/rootfs", "python3")

    def archive(out):
        script("scripts/mkimage", "--compression", "gzip", "--cmd", "python3", rootfs, os.path.join(out, "image"))

    image = cached("python3image", fingerprint(rootfs), archive)
    reference = "oci:" + os.path.join(image, "image")

    def make(out):
        product.convert(reference, os.path.join(out, "python3.wasm"))

    return rootfs, reference, cached("python3wasm", fingerprint(reference, *product.files, __file__), make)
