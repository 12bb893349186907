"""The files that benches/directories measures with: made once, copied for each run, and looked at after
it."""

import filecmp
import hashlib
import os
import shutil
import subprocess
import tarfile

from .images import COMPILE, GUEST
from .tools import CompareError, cached, check, fingerprint, tool

# Bytes that are read and written, by the size of the blocks.
BYTES = {"4k": 64 << 20, "1m": 128 << 20}
REPOSITORY, SMALL, MANY = 5_000, 2_000, 20_000
IN_A_DIRECTORY = 100
# All files are this old, so that git need not suspect that one was changed while it looked.
OLD = 1_700_000_000
# What a template takes on a file system with blocks of 4 KiB, with what the guest writes, and some to spare.
SPACE = 800 << 20
# What of the template each workload needs. Directories are kept as archives, too: unpacking is faster than
# copying.
NEEDS = {"write-4k": ["read-4k"], "read-4k": ["read-4k"], "write-1m": ["read-1m"], "read-1m": ["read-1m"],
         "git-status": ["repo"], "tar": ["small"], "untar": ["small.tar"], "rm": ["many"]}
IDENTITY = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", "bench"), ("EMAIL", "bench@example.org"), ("DATE", f"{OLD} +0000"))}


def content(n):
    """Some hundred to some thousand bytes of text, different for each file."""
    return "".join(f"line {line} of file {n}: {(n * 7919 + line) % 10007}\n" for line in range(5 + n % 83))


def tree(path, count, size):
    """A directory with `count` files in directories of a hundred; `size` makes the content of each."""
    for n in range(count):
        directory = os.path.join(path, f"d{n // IN_A_DIRECTORY:03}")
        if n % IN_A_DIRECTORY == 0:
            os.makedirs(directory)
        name = os.path.join(directory, f"f{n:05}")
        with open(name, "w") as file:
            file.write(size(n))
        os.utime(name, (OLD, OLD))


def repository(path):
    """A git repository of which one file was changed, one removed and one added. Its index is compared with
    times and sizes only: numbers of inodes and owners are others in the guest, and git would read all the
    files."""
    tree(path, REPOSITORY, content)
    environment = {**os.environ, **IDENTITY, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}

    def git(*words):
        check([tool("git"), "-C", path, *words], env=environment)

    git("-c", "init.defaultBranch=main", "init", "-q")
    for name, value in (("core.checkStat", "minimal"), ("core.trustctime", "false"), ("gc.auto", "0")):
        git("config", name, value)
    git("add", ".")
    git("commit", "-q", "-m", "all")
    git("status")
    with open(os.path.join(path, "d007", "f00742"), "a") as file:
        file.write("more\n")
    os.remove(os.path.join(path, "d011", "f01107"))
    with open(os.path.join(path, "d049", "new"), "w") as file:
        file.write("new\n")


STATUS = b" M d007/f00742\n D d011/f01107\n?? d049/new\n"


def natively(out):
    """The program that writes and reads, for this machine."""
    program = os.path.join(out, "stream")
    check([tool("gcc"), *COMPILE, "-o", program, os.path.join(GUEST, "stream.c")])
    return program


def template():
    """The directory with `stream`, for this machine, `files`, what a run is given, and `archives` of
    directories."""

    def make(out):
        stream, files = natively(out), os.path.join(out, "files")
        os.mkdir(files)
        for block, size in (("4k", 4096), ("1m", 1 << 20)):
            check([stream, "write", os.path.join(files, f"read-{block}"), str(size), str(BYTES[block])])
        repository(os.path.join(files, "repo"))
        tree(os.path.join(files, "small"), SMALL, content)
        tree(os.path.join(files, "many"), MANY, lambda n: f"file {n}\n")
        archives = os.path.join(out, "archives")
        os.mkdir(archives)
        for name in ("repo", "small", "many"):
            archive = os.path.join(archives, f"{name}.tar")
            check([tool("tar"), "-C", files, "--sort=name", "--format=posix", "-cf", archive, name])
        shutil.copy(os.path.join(archives, "small.tar"), files)

    return cached("files", fingerprint(__file__, os.path.join(GUEST, "stream.c"), *COMPILE), make)


def expected(made):
    """The sums that the guest has to print, by workload."""
    small = hashlib.md5()
    with tarfile.open(os.path.join(made, "files", "small.tar")) as tar:
        for member in tar:
            if member.isfile():
                small.update(tar.extractfile(member).read())
    sums = {"git-status": hashlib.md5(STATUS), "tar": small, "untar": small, "rm": hashlib.md5(b"gone\n")}
    for block, size in BYTES.items():
        for way in ("read", "write"):
            sums[f"{way}-{block}"] = hashlib.md5(f"{way} {size}\n".encode())
    return {name: digest.hexdigest() for name, digest in sums.items()}


def fresh(made, place, names, packed):
    """What these workloads need of the template, in the directory PLACE, which is made anew; directories as
    they are, or as archives (`packed`)."""
    shutil.rmtree(place, ignore_errors=True)
    os.mkdir(place)
    if shutil.disk_usage(place).free < SPACE:
        raise CompareError(f"{os.path.dirname(place)} has less than {SPACE >> 20} MiB free: name another place by --on")
    for part in sorted({part for name in names for part in NEEDS[name]}):
        archive, original = (os.path.join(made, *words) for words in (("archives", f"{part}.tar"), ("files", part)))
        if not os.path.isdir(original):
            shutil.copy(original, place)
        elif packed:
            shutil.copy(archive, place)
        else:
            check([tool("tar"), "-C", place, "--numeric-owner", "-xpf", archive])


def same_tree(left, right):
    """Whether both directories have the same names, contents, modes and times of change in seconds."""
    names = [sorted((os.path.relpath(at, top), sorted(files), sorted(below)) for at, below, files in os.walk(top))
             for top in (left, right)]
    if names[0] != names[1]:
        return False
    for at, files, _ in names[0]:
        for name in files:
            paths = [os.path.join(top, at, name) for top in (left, right)]
            stats = [os.stat(path) for path in paths]
            if len({(s.st_mode, int(s.st_mtime)) for s in stats}) != 1 or not filecmp.cmp(*paths, shallow=False):
                return False
    return True


def look(made, place, names, side):
    """Checks what workloads left in the directory PLACE, as the host sees it."""

    def wrong(what):
        raise CompareError(f"{side}: {what} on the host, in {place}: what the guest did did not arrive")

    original = os.path.join(made, "files")
    for block, size in BYTES.items():
        if f"write-{block}" in names:
            words = [os.path.join(made, "stream"), "read", os.path.join(place, f"written-{block}"), str(1 << 20), str(size)]
            done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            if done.returncode != 0:
                wrong(done.stderr.strip())
    if "git-status" in names:
        index = [os.path.join(top, "repo", ".git", "index") for top in (original, place)]
        if not filecmp.cmp(*index, shallow=False):
            wrong("git has written another index")
    if "untar" in names and not same_tree(os.path.join(original, "small"), os.path.join(place, "untarred", "small")):
        wrong("the unpacked archive is not what was packed")
    if "rm" in names and os.path.exists(os.path.join(place, "many")):
        wrong("`many` is still there")
