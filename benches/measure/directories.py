"""Workloads on a mapped directory of Forelift, on QEMU's 9p, and on tmpfs in the same guests."""

import os
import shutil

from . import boots, guest, images, trees
from .tools import CompareError, cached, check, fingerprint

WORKLOADS = ["write-4k", "write-1m", "read-4k", "read-1m", "git-status", "tar", "untar", "rm"]
PROGRAMS, FILES = ["stream", "timed", "init"], ["files"]
AT, SCRATCH = "/mnt/dir", "/scratch"
OPTIONS_9P = "trans=virtio,version=9p2000.L,msize=512000"
SIDES = ["forelift", "forelift-tmpfs", "qemu-9p", "qemu-9p-mmap", "qemu-tmpfs"]
ON_TMPFS = ["forelift-tmpfs", "qemu-tmpfs"]
# Pairs that are compared: the first one's speed is given relative to the second one's.
PAIRS = {
    "over_9p": ("forelift", "qemu-9p"),
    "over_9p_mmap": ("forelift", "qemu-9p-mmap"),
    "tmpfs_over_tmpfs": ("forelift-tmpfs", "qemu-tmpfs"),
    "of_tmpfs": ("forelift", "forelift-tmpfs"),
    "9p_of_tmpfs": ("qemu-9p", "qemu-tmpfs"),
}
# What is asked for, of every workload over QEMU's 9p.
LEAST = 1.0


def image(product, memory):
    """The image with the measured programs: `files.cwasm` for `forelift run`, `files.erofs` for QEMU. Where
    code is translated, it was trained on the workloads, on small files on tmpfs: training has no directories
    of the host."""
    arch = product.arch

    def make(out):
        reference = images.root(arch, out, "files", PROGRAMS, FILES, "--volume", SCRATCH)
        lift = ["--train", f"/bench/files --train {SCRATCH}"] if arch.lifted else ["--lift", "none"]
        wasm = os.path.join(out, "files.wasm")
        product.convert(reference, wasm, "--memory", f"{memory}M", *lift)
        check([product.bin, "rootfs", "-q", reference, os.path.join(out, "files.erofs")])
        shutil.rmtree(os.path.join(out, "image"))
        os.remove(wasm)

    root = images.rootfs(arch, "files")
    key = fingerprint(root, memory, *product.files, *images.layer_key(PROGRAMS, FILES), __file__)
    return cached(f"directories-{arch.name}", key, make)


def command_lines(product, made, memory, names, place):
    """By side."""
    on_directory = ["/bench/files", AT, *names]
    on_tmpfs = ["/bench/files", "--copy-to", SCRATCH, AT, *names]
    here = {side: os.path.join(place, side) for side in SIDES}

    def forelift(side, command):
        return boots.forelift(product, os.path.join(made, "files.cwasm"), "--dir", f"{here[side]}::{AT}") + command

    def qemu(side, cache, command):
        mounts = [f"mount:9p:dir:{AT}:{OPTIONS_9P}{cache}", f"mount:tmpfs:scratch:{SCRATCH}:mode=755,size=80%"]
        devices = ["-fsdev", f"local,id=dir,path={here[side]},security_model=none",
                   "-device", "virtio-9p-device,fsdev=dir,mount_tag=dir"]
        return guest.qemu(product, os.path.join(made, "files.erofs"), memory, [*mounts, *command], devices)

    return {
        "forelift": forelift("forelift", on_directory),
        "forelift-tmpfs": forelift("forelift-tmpfs", on_tmpfs),
        "qemu-9p": qemu("qemu-9p", "", on_directory),
        "qemu-9p-mmap": qemu("qemu-9p-mmap", ",cache=mmap", on_directory),
        "qemu-tmpfs": qemu("qemu-tmpfs", "", on_tmpfs),
    }


def verify(taken, names, sums):
    """Every workload ran in every boot, with the right output."""
    for boot in taken:
        for name in names:
            if name not in boot.samples or name not in boot.checks:
                boot.fail(f"workload {name} has no result")
            if boot.checks[name] != sums[name]:
                raise CompareError(f"{boot.name}: workload {name}: wrong output: {boot.checks[name]} is its sum, "
                                   f"{sums[name]} is right")


def measure(product, made, files, place, args):
    """Runs everything; `made` and `files` are what `image` and `trees.template` gave, `place` a directory of
    the host for the files, `args` the command's arguments."""
    names = [name for name in WORKLOADS if not args.only or name in args.only]
    lines = command_lines(product, made, args.memory, names, place)
    sides = {side: words for side, words in lines.items() if side not in args.skip}
    sums = trees.expected(files)

    def after(boot):
        if boot.name not in ON_TMPFS:
            trees.look(files, os.path.join(place, boot.name), names, boot.name)
        verify([boot], names, sums)
        shutil.rmtree(os.path.join(place, boot.name))

    def before(side):
        trees.fresh(files, os.path.join(place, side), names, packed=side in ON_TMPFS)

    taken = boots.interleave(product.arch.name, sides, args.n, before=before, after=after)
    figures = {}
    for name in names:
        samples = {side: [boot.samples[name] for boot in taken[side]] for side in sides}
        middles = {side: boots.middle(samples[side]) for side in sides}
        pairs = {pair: boots.ratios(middles[two], middles[one]) for pair, (one, two) in PAIRS.items()
                 if one in sides and two in sides}
        figures[name] = {"median": middles, "pairs": pairs, "least": LEAST, "samples": samples}
    means = {}
    for pair in next(iter(figures.values()))["pairs"]:
        means[pair] = boots.mean({name: figure["pairs"][pair] for name, figure in figures.items()}, names)
    return {
        "workloads": figures,
        "mean": means,
        "mounts": {side: taken[side][0].notes.get("mount") for side in sides},
        "boots": boots.totals(taken),
        "commands": sides,
        "bytes": trees.BYTES,
        "files": {"git-status": trees.REPOSITORY, "tar": trees.SMALL, "untar": trees.SMALL, "rm": trees.MANY},
    }
