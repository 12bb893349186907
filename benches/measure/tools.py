"""What the parts share: messages, paths, processes that are measured, things made once."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))


class CompareError(Exception):
    """What went wrong, and what to do."""


def log(message):
    print(f"{os.path.basename(sys.argv[0])}: {message}", file=sys.stderr, flush=True)


def tool(name):
    """A program's path."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise CompareError(f"{name} is not installed: run 'scripts/setup build images test'")
    return path


def script(*words):
    """Runs a script of the checkout; the last line of its output."""
    words = [os.path.join(ROOT, words[0]), *words[1:]]
    done = subprocess.run(words, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    if done.returncode != 0:
        raise CompareError(f"{' '.join(words)}: exit status {done.returncode}, see its messages above")
    return (done.stdout.strip().splitlines() or [""])[-1]


def check(words, **options):
    """Runs a command that must succeed; its output."""
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
                          **options)
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise CompareError(f"{' '.join(words)}: exit status {done.returncode}\n{tail}")
    return done.stdout


def timed(words, expect=None, env=None):
    """Runs a command that must succeed, and print `expect` if that is given. Wall and processor seconds from
    start to exit, and its largest resident set in bytes (mapped files count)."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        begin = time.perf_counter()
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                   env={**os.environ, **(env or {})})
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        output, messages = out.read(), err.read()
    if process.returncode != 0 or (expect is not None and output != expect):
        raise CompareError(f"{' '.join(words)}: exit status {process.returncode}, output {output[-200:]!r}"
                           f"{'' if expect is None else f', {expect!r} expected'}\n{messages.decode(errors='replace')}")
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "rss": usage.ru_maxrss * 1024,
            "output": output.decode(errors="replace")}


def cpu_clock(pid):
    """Processor seconds of all threads of a process so far (clock_getcpuclockid(3) on Linux)."""
    return time.clock_gettime((~pid << 3) | 2)


def fingerprint(*parts):
    """A short name for the state of files (path, size, time) and for words."""
    digest = hashlib.sha256()
    for part in parts:
        part = str(part)
        digest.update(part.encode() + b"\0")
        if os.path.isfile(part):
            stat = os.stat(part)
            digest.update(f"{stat.st_size} {stat.st_mtime_ns}".encode() + b"\0")
    return digest.hexdigest()[:16]


def cached(kind, key, make):
    """The directory CACHE/bench/KIND-KEY, which `make` fills when it is missing; others of the kind are
    removed."""
    base = os.path.join(os.environ.get("FORELIFT_CACHE") or os.path.expanduser("~/.cache/forelift"), "bench")
    done = os.path.join(base, f"{kind}-{key}")
    if os.path.isdir(done):
        return done
    os.makedirs(base, exist_ok=True)
    for name in os.listdir(base):
        if name.startswith(kind + "-"):
            shutil.rmtree(os.path.join(base, name))
    partial = os.path.join(base, f"{kind}-{key}.partial")
    os.mkdir(partial)
    log(f"making {done}")
    make(partial)
    os.rename(partial, done)
    return done


def save(result, path):
    """Writes a result as JSON, replacing the file as a whole."""
    with open(path + ".new", "w") as out:
        json.dump(result, out, indent=1)
        out.write("\n")
    os.replace(path + ".new", path)
    log(f"all samples are in {path}")


def interleaved(sides, runs, measure, part=""):
    """Samples by side, of which `measure` takes one; the side that is first changes from run to run."""
    samples, order = {side: [] for side in sides}, list(sides)
    for n in range(runs):
        for side in order:
            samples[side].append(measure(side))
            log(f"{part and part + ': '}run {n + 1} of {runs}, {side}")
        order = order[1:] + order[:1]
    return samples


def median(values):
    """The middle one, or the mean of the middle two."""
    values = sorted(values)
    half = len(values) // 2
    return values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2
