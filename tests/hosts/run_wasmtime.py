#!/usr/bin/env python3
"""Run an image on PyPI's wasmtime, with nothing but WASI preview 1.

    run_wasmtime.py [--dir HOST::GUEST] [--env K=V] IMAGE.wasm [ARGS...]

The compiled module is kept beside the image: IMAGE.wasm.<version>.pycwasm."""

import fcntl
import os
import sys
from importlib.metadata import version

import wasmtime

VERSION = version("wasmtime")


def compiled(engine, path):
    """The module, from the cache beside it where there is one of this module."""
    kept = f"{path}.{VERSION}.pycwasm"
    with open(path + ".pylock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(kept) or os.path.getmtime(kept) < os.path.getmtime(path):
            partial = kept + ".partial"
            with open(partial, "wb") as out:
                out.write(wasmtime.Module.from_file(engine, path).serialize())
            os.rename(partial, kept)
    return wasmtime.Module.deserialize_file(engine, kept)


def parse(argv):
    dirs, env, rest = [], [], list(argv)
    while rest and rest[0] in ("--dir", "--env"):
        option, value = rest.pop(0), rest.pop(0)
        if option == "--dir":
            host, _, guest = value.partition("::")
            dirs.append((host, guest or host))
        else:
            name, _, text = value.partition("=")
            env.append((name, text))
    if not rest:
        sys.exit(__doc__)
    return dirs, env, rest


def main(argv):
    dirs, env, words = parse(argv)
    engine = wasmtime.Engine()
    module = compiled(engine, words[0])
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    wasi = wasmtime.WasiConfig()
    wasi.argv = words
    wasi.env = env
    wasi.inherit_stdin()
    wasi.inherit_stdout()
    wasi.inherit_stderr()
    for host, guest in dirs:
        wasi.preopen_dir(host, guest)
    store = wasmtime.Store(engine)
    store.set_wasi(wasi)
    start = linker.instantiate(store, module).exports(store)["_start"]
    try:
        start(store)
    except wasmtime.ExitTrap as end:
        return end.code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
