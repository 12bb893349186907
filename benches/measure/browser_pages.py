"""The pages that benches/browser measures: Forelift's, by `convert --web`, and v86's."""

import os
import shutil

from . import browser_v86, images
from .tools import cached, check, fingerprint

# Of benches/guest/workloads.
WORKLOADS = ["mix", "gzip", "xz", "python-start", "forks"]
# MiB of RAM of the guests: of the page with a shell, and of that with the workloads.
SHELL_MEMORY, BENCH_MEMORY = 128, 256


def shell(product):
    """The directory of `convert --web` for a shell in minbase, with the default options otherwise."""
    tar = images.rootfs(product.arch, "minbase")

    def make(out):
        words = [product.bin, "convert", "-q", "--no-cache", "--memory", f"{SHELL_MEMORY}M", "--web-args", "bash"]
        check([*words, "--web", os.path.join(out, "web"), f"tar:{tar}"])

    key = fingerprint(tar, SHELL_MEMORY, *product.files, __file__)
    return os.path.join(cached(f"webshell-{product.arch.name}", key, make), "web")


def bench(product, trained_on):
    """A directory with `web/`, the page with the measured programs, and `bench.cwasm`, the same image for
    `forelift run`."""

    def make(out):
        reference = images.root(product.arch, out, "bench", images.PROGRAMS, images.FILES)
        command = f"/bench/workloads --input {trained_on}"
        training = [word for name in WORKLOADS for word in ("--train", f"{command} {name}")]
        lift = [*training, "--lift", "16M"] if product.arch.lifted else ["--lift", "none"]
        options = ["--memory", f"{BENCH_MEMORY}M", *lift, reference]
        # A cache of their own lets the second conversion take over what the first one has learned.
        cache, wasm = os.path.join(out, "cache"), os.path.join(out, "bench.wasm")
        convert, env = [product.bin, "convert", "-q"], {**os.environ, "FORELIFT_CACHE": cache}
        check([*convert, *options, wasm], env=env)
        check([*convert, "--web", os.path.join(out, "web"), "--web-args", "bash", *options], env=env)
        check([product.bin, "compile", "-q", wasm, os.path.join(out, "bench.cwasm")])
        os.remove(wasm)
        for directory in (cache, os.path.join(out, "image")):
            shutil.rmtree(directory)

    root = images.rootfs(product.arch, "bench")
    layer = images.layer_key(images.PROGRAMS, images.FILES)
    key = fingerprint(root, BENCH_MEMORY, trained_on, *product.files, *layer, __file__)
    return cached(f"webbench-{product.arch.name}", key, make)


def all_of(sides, product, parts, trained_on):
    """Everything that is measured, before anything is: the directories of the pages by part and side, the
    image for `forelift run`, and what is said of v86's."""
    found, about, image = {"page": {}, "workloads": {}}, {}, None
    if "page" in parts:
        found["page"] = {side: shell(product) if side == "forelift" else browser_v86.page("minbase", SHELL_MEMORY)
                         for side in sides}
    if "workloads" in parts:
        if "forelift" in sides:
            directory = bench(product, trained_on)
            found["workloads"]["forelift"] = os.path.join(directory, "web")
            image = os.path.join(directory, "bench.cwasm") if "run" in parts else None
        if "v86" in sides:
            found["workloads"]["v86"] = browser_v86.page("bench", BENCH_MEMORY)
    for part, directories in found.items():
        if "v86" in directories:
            about[part] = browser_v86.about(directories["v86"])
    return found, image, about
