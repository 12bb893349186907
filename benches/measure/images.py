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
    """The command under test with its files, for images of one architecture."""

    def __init__(self, arch):
        self.arch = arch
        self.bin = os.environ.get("FORELIFT_BIN") or os.path.join(ROOT, "target", "dist", "bin", "forelift")
        if not os.path.isfile(self.bin):
            raise CompareError(f"{self.bin} does not exist: run scripts/build, or set FORELIFT_BIN")
        beside = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(self.bin))), "share", "forelift")
        self.assets = os.environ.get("FORELIFT_ASSETS") or beside
        self.kernel = os.path.join(self.assets, f"Image-{arch.name}")
        names = ("runtime-{}.wasm", "init-{}", "Image-{}", "System.map-{}")
        self.files = [self.bin] + [os.path.join(self.assets, name.format(arch.name)) for name in names]
        for path in self.files:
            if not os.path.isfile(path):
                raise CompareError(f"{path} does not exist: run scripts/build, or set FORELIFT_ASSETS")

    def convert(self, reference, out, *options):
        """Converts, without what other conversions left in a cache, and compiles to OUT with .cwasm."""
        check([self.bin, "convert", "-q", "--no-cache", *options, reference, out])
        check([self.bin, "compile", "-q", out, os.path.splitext(out)[0] + ".cwasm"])


def layer(product, out):
    """The guest programs as a layer with /bench."""
    work = os.path.join(os.path.dirname(out), "programs")
    os.mkdir(work)
    for name in PROGRAMS:
        check([tool(product.arch.gcc), *COMPILE, "-o", os.path.join(work, name),
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


def rootfs(product, name):
    """Debian's root file system of that name, as a tar."""
    return script("scripts/rootfs", "--arch", product.arch.debian, name)


def mkimage(product, *words):
    """An image for the architecture."""
    script("scripts/mkimage", "--arch", product.arch.debian, *words)


def root(product, out):
    """The root file system with the measured programs, as an image in the directory OUT; its reference."""
    tar, archive = os.path.join(out, "layer.tar"), os.path.join(out, "image")
    layer(product, tar)
    layers = f"{rootfs(product, 'bench')},{tar}"
    mkimage(product, "--compression", "none", "--cmd", "/bench/workloads", layers, archive)
    os.remove(tar)
    return f"oci:{archive}"


def root_key(product, memory):
    """What images of that root depend on."""
    sources = [os.path.join(GUEST, n) for n in [p + ".c" for p in PROGRAMS] + FILES]
    return fingerprint(rootfs(product, "bench"), memory, *COMPILE, *sources, *product.files, __file__)


def bench(product, memory):
    """The image with the measured programs: `bench.wasm`, `bench.cwasm` for `forelift run`, `bench.erofs` for QEMU."""

    def make(out):
        reference = root(product, out)
        # Each workload is trained on by itself, as the image of its own would be; together they want more than the
        # default budget.
        training = [word for name in WORKLOADS for word in ("--train", f"/bench/workloads {name}")]
        lift = [*training, "--lift", "16M"] if product.arch.lifted else ["--lift", "none"]
        options = ["--memory", f"{memory}M", *lift]
        product.convert(reference, os.path.join(out, "bench.wasm"), *options)
        check([product.bin, "rootfs", "-q", reference, os.path.join(out, "bench.erofs")])
        shutil.rmtree(os.path.join(out, "image"))

    return cached(f"bench-{product.arch.name}", root_key(product, memory), make)


def untrained(product, memory):
    """The same, trained on a command that does nothing: `untrained.cwasm`."""

    def make(out):
        wasm = os.path.join(out, "untrained.wasm")
        product.convert(root(product, out), wasm, "--memory", f"{memory}M", "--train", "sh -c true")
        shutil.rmtree(os.path.join(out, "image"))
        os.remove(wasm)

    return cached(f"untrained-{product.arch.name}", root_key(product, memory), make)


def python3(product):
    """A Debian image with python3 as registries have it (OCI, gzip): its reference, and a directory with
    `python3.wasm` and `python3.cwasm`."""
    tar, arch = rootfs(product, "python3"), product.arch.name

    def archive(out):
        mkimage(product, "--compression", "gzip", "--cmd", "python3", tar, os.path.join(out, "image"))

    image = cached(f"python3image-{arch}", fingerprint(tar), archive)
    reference = "oci:" + os.path.join(image, "image")

    def make(out):
        product.convert(reference, os.path.join(out, "python3.wasm"))

    return tar, reference, cached(f"python3wasm-{arch}", fingerprint(reference, *product.files, __file__), make)
