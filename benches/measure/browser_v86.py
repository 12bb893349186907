"""The directories with v86's pages: a Debian i386 root file system by 9p, and the state of a machine that has
booted to a shell."""

import hashlib
import json
import os
import shutil
import stat
import tarfile

from . import images
from .tools import ROOT, CompareError, cached, check, fingerprint, script, tool

HERE = os.path.dirname(os.path.realpath(__file__))
V86 = os.path.join(ROOT, "benches", "v86")
PAGE = ["index.html", "page.mjs"]
# The kernel's, in this order, with all that they want.
MODULES = ["virtio_pci", "9pnet_virtio", "9p"]
# As in v86's tools/fs2json.py and tools/copy-to-sha256.py.
VERSION, HASH_LENGTH, LEVEL = 3, 8, 19
# Of the files beside the workloads, whose transfer is not measured.
QUICK = 6
KINDS = {tarfile.REGTYPE: stat.S_IFREG, tarfile.AREGTYPE: stat.S_IFREG, tarfile.LNKTYPE: stat.S_IFREG,
         tarfile.DIRTYPE: stat.S_IFDIR, tarfile.SYMTYPE: stat.S_IFLNK}
# What brotli makes smaller; files of the root file system and the state are compressed by zstd.
BROTLI = """const { readFileSync, writeFileSync } = require('node:fs');
for (const name of process.argv.slice(1))
    writeFileSync(`${name}.br`, require('node:zlib').brotliCompressSync(readFileSync(name)));"""


def version():
    """Of v86, as package-lock.json has it."""
    with open(os.path.join(V86, "package-lock.json")) as lock:
        return json.load(lock)["packages"]["node_modules/v86"]["version"]


class I386:
    """What images.rootfs wants to know."""

    debian = "i386"


def modules(directory):
    """The paths of MODULES and of those that they depend on, by name, in an order in which they can be
    loaded."""
    paths, order = {}, {}
    for place, _, names in os.walk(directory):
        for name in names:
            paths[name.removesuffix(".ko").replace("-", "_")] = os.path.join(place, name)

    def add(name):
        with open(paths[name], "rb") as file:
            wanted = file.read().split(b"\0depends=", 1)[1].split(b"\0", 1)[0].decode()
        for each in filter(None, wanted.split(",")):
            add(each.replace("-", "_"))
        order.setdefault(name, paths[name])

    for name in MODULES:
        add(name)
    return order


def initramfs(packages, out):
    """Busybox, the modules and benches/v86/init as a cpio archive (the kernel's
    Documentation/driver-api/early-userspace/buffer-format.rst)."""
    loaded = modules(os.path.join(packages, "modules"))
    with tarfile.open(images.rootfs(I386, "busybox")) as tar:
        busybox = tar.extractfile("./usr/bin/busybox").read()
    entries = [(name, stat.S_IFDIR | 0o755, b"") for name in ("bin", "dev", "lib", "root")]
    entries += [("bin/busybox", stat.S_IFREG | 0o755, busybox), ("bin/sh", stat.S_IFLNK | 0o777, b"busybox")]
    for name, path in loaded.items():
        with open(path, "rb") as file:
            entries.append((f"lib/{name}.ko", stat.S_IFREG | 0o644, file.read()))
    entries.append(("modules", stat.S_IFREG | 0o644, "".join(f"{name}\n" for name in loaded).encode()))
    with open(os.path.join(V86, "init"), "rb") as file:
        entries.append(("init", stat.S_IFREG | 0o755, file.read()))
    entries.append(("TRAILER!!!", 0, b""))
    with open(out, "wb") as archive:
        for number, (name, mode, data) in enumerate(entries, 1):
            fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
            archive.write(b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0")
            for part in (b"", data):
                archive.write(part)
                archive.write(bytes(-archive.tell() % 4))


def programs(root_tar, out):
    """The measured programs, compiled by the gcc of the root file system itself, as a layer."""
    if os.geteuid() != 0:
        raise CompareError("the programs for v86's guest are compiled by chroot, which needs root")
    root, work = os.path.join(os.path.dirname(out), "root"), os.path.join(os.path.dirname(out), "programs")
    os.mkdir(root)
    os.mkdir(work)
    check(["tar", "-x", "--numeric-owner", "-f", root_tar, "-C", root])
    names = [name for name in images.PROGRAMS if name != "init"]
    for name in names:
        shutil.copy(os.path.join(images.GUEST, name + ".c"), os.path.join(root, "tmp"))
        check([tool("chroot"), root, "/usr/bin/gcc", *images.COMPILE, "-o", f"/tmp/{name}", f"/tmp/{name}.c", "-lm"],
              env={"PATH": "/usr/bin:/usr/sbin:/bin:/sbin"})
        shutil.copy(os.path.join(root, "tmp", name), work)
    shutil.rmtree(root)
    for name in images.FILES:
        shutil.copy(os.path.join(images.GUEST, name), work)

    def plain(info):
        info.uid = info.gid = info.mtime = 0
        info.uname = info.gname = ""
        info.mode = 0o755
        return info

    with tarfile.open(out, "w") as tar:
        tar.add(work, arcname="bench", filter=plain)
    shutil.rmtree(work)


class Files:
    """The tree that v86 takes as JSON, and the directory of its files, by digests."""

    def __init__(self, out):
        self.out, self.tree, self.size, self.names = out, [], 0, {}
        self.directories = {"": self.tree}
        os.mkdir(out)

    def add(self, archive):
        with tarfile.open(archive) as tar:
            for member in tar:
                self.member(tar, member)

    def member(self, tar, member):
        path = member.name.removeprefix(".").strip("/")
        if not path or (member.isdir() and path in self.directories):
            return
        if member.type not in KINDS:
            raise CompareError(f"{tar.name}: {member.name}: v86 has no files of this kind")
        parent, _, name = path.rpartition("/")
        node = [name, member.size, int(member.mtime), member.mode | KINDS[member.type], member.uid, member.gid]
        if member.isdir():
            node.append(self.directories.setdefault(path, []))
        elif member.issym():
            node.append(member.linkname)
        else:
            data = tar.extractfile(member).read()
            node[1] = len(data)
            node.append(self.file(data))
        self.size += node[1]
        self.directories[parent].append(node)

    def file(self, data):
        digest = hashlib.sha256(data).hexdigest()
        name = digest[:HASH_LENGTH]
        if self.names.setdefault(name, digest) != digest:
            raise CompareError(f"two files whose digests begin with {name}: make HASH_LENGTH larger")
        with open(os.path.join(self.out, f"{name}.bin"), "wb") as file:
            file.write(data)
        return f"{name}.bin.zst"

    def finish(self, path, level):
        """Compresses the files, and writes the tree."""
        names = [os.path.join(self.out, f"{name}.bin") for name in self.names]
        for at in range(0, len(names), 1000):
            check([tool("zstd"), "-q", f"-{level}", "--rm", *names[at:at + 1000]])
        with open(path, "w") as out:
            json.dump({"fsroot": self.tree, "version": VERSION, "size": self.size}, out, separators=(",", ":"))


def page(name, memory):
    """The directory with the page for the root file system NAME, which has the measured programs if it is
    `bench`."""
    library = os.path.join(script("benches/v86/setup"), "node_modules")
    packages, tar = script("benches/v86/packages"), images.rootfs(I386, name)
    measured = name == "bench"

    def make(out):
        files = Files(os.path.join(out, "files"))
        files.add(tar)
        if measured:
            layer = os.path.join(out, "layer.tar")
            programs(tar, layer)
            files.add(layer)
            os.remove(layer)
        files.finish(os.path.join(out, "files.json"), QUICK if measured else LEVEL)
        initramfs(packages, os.path.join(out, "initrd"))
        build = os.path.join(library, "v86", "build")
        boot = os.path.join(HERE, "browser_boot.mjs")
        # As for v86's own images: freed memory is cleared. The state is smaller, and some work slower.
        options = [] if measured else ["init_on_free=1"]
        said = check([tool("node"), boot, build, packages, out, str(memory), *options]).strip().splitlines()[-1]
        check([tool("zstd"), "-q", f"-{LEVEL}", "--rm", os.path.join(out, "state.bin")])
        xterm = os.path.join(library, "@xterm", "xterm")
        sources = {"libv86.mjs": f"{build}/libv86.mjs", "v86.wasm": f"{build}/v86.wasm",
                   "xterm.mjs": f"{xterm}/lib/xterm.mjs", "xterm.css": f"{xterm}/css/xterm.css",
                   "bios.bin": f"{packages}/bios", "vgabios.bin": f"{packages}/vgabios",
                   **{each: os.path.join(V86, each) for each in PAGE}}
        for to, path in sources.items():
            shutil.copyfile(path, os.path.join(out, to))
        check([tool("node"), "-e", BROTLI, *(os.path.join(out, each) for each in [*sources, "settings.mjs"])])
        # They are in the state.
        for each in ("initrd", "files.json"):
            os.remove(os.path.join(out, each))
        with open(os.path.join(packages, "version")) as version:
            versions = version.read().split()
        with open(os.path.join(out, "made.json"), "w") as about:
            json.dump({**json.loads(said), "packages": versions, "memory_mib": memory}, about)

    sources = [os.path.join(V86, each) for each in (*PAGE, "init", "package-lock.json")]
    layer = images.layer_key(images.PROGRAMS, images.FILES) if measured else []
    key = fingerprint(tar, memory, packages, library, *sources, *layer, __file__, os.path.join(HERE, "browser_boot.mjs"))
    return cached(f"v86-{name}", key, make)


def about(directory):
    """How it was made, and sizes: of the state as it is fetched, of all files of the root file system."""
    with open(os.path.join(directory, "made.json")) as made:
        facts = json.load(made)
    files = os.path.join(directory, "files")
    with os.scandir(files) as entries:
        facts["files"] = sum(entry.stat().st_size for entry in entries)
    facts["state_zstd"] = os.path.getsize(os.path.join(directory, "state.bin.zst"))
    return facts
