"""The images that are measured, and the command that makes them."""

import os
import shutil
import tarfile

from .tools import ROOT, CompareError, cached, check, fingerprint, script, tool

GUEST = os.path.join(ROOT, "benches", "guest")
# Of the workloads: compiled, statically, for the guest; ...
PROGRAMS = ["mix", "nbody", "timed", "init"]
# ... and as they are; mix.c and nbody.c are what the guest's gcc compiles.
FILES = ["workloads", "mix.c", "nbody.c"]
COMPILE = ["-O2", "-static", "-Wall", "-Wextra", "-Werror"]


# The workloads have more than one input, by number; this one is measured with.
INPUTS, INPUT = [1, 2], 1
# What is measured inside the guest, in the order of benches/guest/workloads.
WORKLOADS = ["mix", "nbody", "sha256", "gzip", "xz", "python-start", "python-loop", "sqlite", "awk", "gcc", "forks", "dd"]


class Product:
    """The command under test with its files, for images of one architecture, and the QEMU to compare it
    with."""

    def __init__(self, arch, qemu=None):
        self.arch = arch
        self.qemu = tool(qemu) if qemu else script("scripts/qemu", arch.name)
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


def layer(arch, out, programs, files):
    """Programs and files of benches/guest as a layer, the tar OUT, with /bench."""
    work = os.path.join(os.path.dirname(out), "programs")
    os.mkdir(work)
    for name in programs:
        check([tool(arch.gcc), *COMPILE, "-o", os.path.join(work, name), os.path.join(GUEST, name + ".c"), "-lm"])

    def plain(info):
        info.uid = info.gid = info.mtime = 0
        info.uname = info.gname = ""
        info.mode = 0o755
        return info

    with tarfile.open(out, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in files:
            shutil.copy(os.path.join(GUEST, name), work)
        tar.add(work, arcname="bench", filter=plain)
    shutil.rmtree(work)


def rootfs(arch, name):
    """Debian's root file system of that name, as a tar."""
    return script("scripts/rootfs", "--arch", arch.debian, name)


def mkimage(arch, *words):
    """An image for the architecture."""
    script("scripts/mkimage", "--arch", arch.debian, *words)


def root(arch, out, name, programs, files, *options):
    """The root file system NAME with programs and files of benches/guest, as an image in the directory OUT;
    its reference. Its command is the first of the files."""
    tar, archive = os.path.join(out, "layer.tar"), os.path.join(out, "image")
    layer(arch, tar, programs, files)
    layers = f"{rootfs(arch, name)},{tar}"
    mkimage(arch, "--compression", "none", "--cmd", f"/bench/{files[0]}", *options, layers, archive)
    os.remove(tar)
    return f"oci:{archive}"


def layer_key(programs, files):
    """What a layer depends on."""
    return [*COMPILE, *(os.path.join(GUEST, name) for name in [p + ".c" for p in programs] + files), __file__]


def root_key(product, memory):
    """What images with the workloads depend on."""
    return fingerprint(rootfs(product.arch, "bench"), memory, *product.files, *layer_key(PROGRAMS, FILES))


def bench(product, memory, trained_on):
    """The image with the measured programs: `bench.wasm`, `bench.cwasm` for `forelift run`, `bench.erofs` for
    QEMU. `trained_on` is the number of the input that it was trained on."""

    def make(out):
        reference = root(product.arch, out, "bench", PROGRAMS, FILES)
        # Each workload is trained on by itself, as the image of its own would be; together they want more
        # than the default budget.
        command = f"/bench/workloads --input {trained_on}"
        training = [word for name in WORKLOADS for word in ("--train", f"{command} {name}")]
        lift = [*training, "--lift", "16M"] if product.arch.lifted else ["--lift", "none"]
        options = ["--memory", f"{memory}M", *lift]
        product.convert(reference, os.path.join(out, "bench.wasm"), *options)
        check([product.bin, "rootfs", "-q", reference, os.path.join(out, "bench.erofs")])
        shutil.rmtree(os.path.join(out, "image"))

    kind = "bench" if trained_on == INPUT else f"bench{trained_on}"
    return cached(f"{kind}-{product.arch.name}", root_key(product, memory), make)


def untrained(product, memory):
    """The same, trained on a command that does nothing: `untrained.cwasm`."""

    def make(out):
        reference, wasm = root(product.arch, out, "bench", PROGRAMS, FILES), os.path.join(out, "untrained.wasm")
        product.convert(reference, wasm, "--memory", f"{memory}M", "--train", "sh -c true")
        shutil.rmtree(os.path.join(out, "image"))
        os.remove(wasm)

    return cached(f"untrained-{product.arch.name}", root_key(product, memory), make)


def unpacked(arch):
    """The root file system with the measured programs as a directory, for an architecture that this machine
    runs."""
    tar = rootfs(arch, "bench")

    def make(out):
        programs = os.path.join(out, "layer.tar")
        layer(arch, programs, PROGRAMS, FILES)
        directory = os.path.join(out, "root")
        os.mkdir(directory)
        for each in (tar, programs):
            check(["tar", "-x", "-p", "--numeric-owner", "-f", each, "-C", directory])
        os.remove(programs)

    made = cached(f"host-{arch.name}", fingerprint(tar, *layer_key(PROGRAMS, FILES)), make)
    return os.path.join(made, "root")


def python3(product):
    """A Debian image with python3 as registries have it (OCI, gzip): its reference, and a directory with
    `python3.wasm` and `python3.cwasm`."""
    tar, arch = rootfs(product.arch, "python3"), product.arch.name

    def archive(out):
        mkimage(product.arch, "--compression", "gzip", "--cmd", "python3", tar, os.path.join(out, "image"))

    image = cached(f"python3image-{arch}", fingerprint(tar), archive)
    reference = "oci:" + os.path.join(image, "image")

    def make(out):
        product.convert(reference, os.path.join(out, "python3.wasm"))

    return tar, reference, cached(f"python3wasm-{arch}", fingerprint(reference, *product.files, __file__), make)
