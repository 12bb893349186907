/**
 * WASI preview 1 for directories in memory: preopened descriptors, and what is opened below them.
 *
 * Errors are those of Linux at the call of the same name. Of rights, only those to read and to write a file
 * count.
 *
 * @module
 */

import {
  Errno,
  FLAG_APPEND,
  FileType,
  LOOKUP_FOLLOW,
  OPENED_FD,
  Open,
  PREOPEN_FD,
  RIGHTS,
  RIGHTS_FILES,
  RIGHTS_LOOK,
  SetTime,
  Whence,
} from './abi.js';
import { FileError } from './errors.js';
import type { DirectoryNode, FileNode, Node, Tree } from './tree.js';

/** A directory that a module is given. */
export interface Preopen {
  path: string;
  tree: Tree;
  readOnly: boolean;
}

/** A directory that is open. */
interface OpenDirectory {
  kind: 'directory';
  node: DirectoryNode;
  preopen: Preopen;
  /** The names as they were when reading them began, by which cookies count. */
  names: string[];
}

/** A file that is open. */
interface OpenFile {
  kind: 'file';
  node: FileNode;
  preopen: Preopen;
  rights: bigint;
  append: boolean;
  position: number;
}

type Opened = OpenDirectory | OpenFile;

/** A function of WASI's. */
export type Call = (...args: never[]) => number;

/** Most descriptors at a time. */
const MOST_OPENED = 1 << 17;
/** Most buffers of one transfer. */
const MOST_BUFFERS = 1024;
/** Longest path. A longer one is not even read. */
const PATH_MAX = 4095;
/** Lengths of structures in bytes. */
const [DIRENT, FDSTAT, FILESTAT] = [24, 24, 64];

const TYPES = {
  file: FileType.REGULAR_FILE,
  directory: FileType.DIRECTORY,
  symlink: FileType.SYMBOLIC_LINK,
} as const;

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The functions for files of one instance. */
export class Files {
  private readonly opened = new Map<number, Opened>();
  /** Preopened descriptors' own names. */
  private readonly paths: Uint8Array[];
  /** Descriptors that were closed, and the first that was never open. */
  private readonly closed: number[] = [];
  private fresh = OPENED_FD;

  /** `memory` gives the instance's memory. */
  constructor(
    preopens: readonly Preopen[],
    private readonly memory: () => ArrayBuffer,
  ) {
    this.paths = preopens.map(({ path }) => encoder.encode(path));
    preopens.forEach((preopen, nth) => {
      const node = preopen.tree.root;
      this.opened.set(PREOPEN_FD + nth, { kind: 'directory', node, preopen, names: [] });
    });
  }

  /** Whether a descriptor is one of these. */
  owns(fd: number): boolean {
    return this.opened.has(fd);
  }

  /** The functions. A descriptor that is none of these gives `EBADF`. */
  readonly calls: Readonly<Record<string, Call>> = {
    fd_prestat_get: call((fd: number, result: number) => {
      const path = this.preopened(fd);
      const words = this.view(result, 8);
      words.setUint32(0, 0, true);
      words.setUint32(4, path.length, true);
    }),
    fd_prestat_dir_name: call((fd: number, at: number, length: number) => {
      const path = this.preopened(fd);
      if (length >>> 0 < path.length) throw new FileError('NAMETOOLONG');
      this.bytes(at, path.length).set(path);
    }),
    fd_fdstat_get: call((fd: number, result: number) => {
      this.describe(this.get(fd), this.view(result, FDSTAT));
    }),
    fd_fdstat_set_flags: call((fd: number, flags: number) => {
      this.file(fd).append = (flags & FLAG_APPEND) !== 0;
    }),
    fd_close: call((fd: number) => {
      this.get(fd);
      this.opened.delete(fd);
      if (fd >= OPENED_FD) this.closed.push(fd);
    }),

    fd_read: call((fd: number, list: number, count: number, result: number) => {
      const file = this.file(fd, RIGHTS.READ);
      file.position += this.read(file, list, count, file.position, result);
    }),
    fd_pread: call((fd: number, list: number, count: number, offset: bigint, result: number) => {
      this.read(this.file(fd, RIGHTS.READ), list, count, number(offset), result);
    }),
    fd_write: call((fd: number, list: number, count: number, result: number) => {
      const file = this.file(fd, RIGHTS.WRITE);
      const at = file.append ? file.node.size : file.position;
      const done = this.write(file, list, count, at, result);
      if (done > 0) file.position = at + done;
    }),
    fd_pwrite: call((fd: number, list: number, count: number, offset: bigint, result: number) => {
      this.write(this.file(fd, RIGHTS.WRITE), list, count, number(offset), result);
    }),
    fd_seek: call((fd: number, offset: bigint, whence: number, result: number) => {
      const file = this.file(fd);
      const words = this.view(result, 8);
      const from = { [Whence.SET]: 0, [Whence.CUR]: file.position, [Whence.END]: file.node.size }[whence];
      const to = (from ?? NaN) + Number(offset);
      if (!Number.isSafeInteger(to) || to < 0) throw new FileError('INVAL');
      file.position = to;
      words.setBigUint64(0, BigInt(to), true);
    }),
    fd_tell: call((fd: number, result: number) => {
      this.view(result, 8).setBigUint64(0, BigInt(this.file(fd).position), true);
    }),
    // Memory is as safe as it gets.
    fd_sync: call((fd: number) => void this.get(fd)),
    fd_datasync: call((fd: number) => void this.get(fd)),
    fd_advise: call((fd: number) => void this.file(fd)),
    fd_allocate: call((fd: number, offset: bigint, length: bigint) => {
      const file = this.file(fd, RIGHTS.WRITE);
      if (length === 0n) throw new FileError('INVAL');
      const end = number(offset) + number(length);
      if (end <= file.node.size) return;
      file.node.resize(end);
      file.preopen.tree.touched();
    }),
    fd_filestat_get: call((fd: number, result: number) => {
      const { node, preopen } = this.get(fd);
      this.stat(node, preopen.tree, this.view(result, FILESTAT));
    }),
    fd_filestat_set_size: call((fd: number, size: bigint) => {
      const file = this.file(fd);
      if ((file.rights & RIGHTS.WRITE) === 0n) throw new FileError('INVAL');
      file.node.resize(number(size));
      file.preopen.tree.touched();
    }),
    fd_filestat_set_times: call((fd: number, atime: bigint, mtime: bigint, flags: number) => {
      const { node, preopen } = this.get(fd);
      if (preopen.readOnly) throw new FileError('ROFS');
      setTimes(node, atime, mtime, flags);
      preopen.tree.touched();
    }),
    fd_readdir: call((fd: number, at: number, length: number, cookie: bigint, result: number) => {
      const into = this.bytes(at, length);
      const words = this.view(result, 4);
      words.setUint32(0, list(this.directory(fd), into, number(cookie)), true);
    }),

    path_open: call(
      (
        fd: number,
        lookup: number,
        path: number,
        length: number,
        flags: number,
        rights: bigint,
        _inheriting: bigint,
        fdflags: number,
        result: number,
      ) => {
        const { node: base, preopen } = this.directory(fd);
        const [name, words] = [this.text(path, length), this.view(result, 4)];
        const write = (rights & RIGHTS.WRITE) !== 0n;
        const has = (flag: number) => (flags & flag) !== 0;
        const create = has(Open.CREATE);
        if (preopen.readOnly && (write || create || has(Open.TRUNCATE))) throw new FileError('ROFS');
        if (this.opened.size >= MOST_OPENED) throw new FileError('MFILE');
        const node = preopen.tree.open(base, name, {
          follow: (lookup & LOOKUP_FOLLOW) !== 0,
          create,
          exclusive: has(Open.EXCLUSIVE),
          directory: has(Open.DIRECTORY),
          truncate: has(Open.TRUNCATE),
          write,
        });
        if (create || has(Open.TRUNCATE)) preopen.tree.touched();
        const append = (fdflags & FLAG_APPEND) !== 0;
        const opened: Opened =
          node.kind === 'file'
            ? { kind: 'file', node, preopen, rights, append, position: 0 }
            : { kind: 'directory', node, preopen, names: [] };
        words.setUint32(0, this.add(opened), true);
      },
    ),
    path_create_directory: call((fd: number, path: number, length: number) => {
      const { node, tree } = this.changing(fd);
      tree.mkdir(node, this.text(path, length));
      tree.touched();
    }),
    path_remove_directory: call((fd: number, path: number, length: number) => {
      const { node, tree } = this.changing(fd);
      tree.rmdir(node, this.text(path, length));
      tree.touched();
    }),
    path_unlink_file: call((fd: number, path: number, length: number) => {
      const { node, tree } = this.changing(fd);
      tree.unlink(node, this.text(path, length));
      tree.touched();
    }),
    path_rename: call(
      (fd: number, old: number, oldLength: number, newFd: number, path: number, length: number) => {
        const [from, to] = this.both(fd, newFd);
        from.tree.rename(from.node, this.text(old, oldLength), to, this.text(path, length));
        from.tree.touched();
      },
    ),
    path_link: call(
      (
        fd: number,
        lookup: number,
        old: number,
        oldLength: number,
        newFd: number,
        path: number,
        length: number,
      ) => {
        const [from, to] = this.both(fd, newFd);
        const follow = (lookup & LOOKUP_FOLLOW) !== 0;
        from.tree.link(from.node, this.text(old, oldLength), follow, to, this.text(path, length));
        from.tree.touched();
      },
    ),
    path_symlink: call((target: number, targetLength: number, fd: number, path: number, length: number) => {
      const { node, tree } = this.changing(fd);
      tree.symlink(this.text(target, targetLength), node, this.text(path, length));
      tree.touched();
    }),
    path_readlink: call(
      (fd: number, path: number, length: number, at: number, room: number, result: number) => {
        const { node, preopen } = this.directory(fd);
        const [into, words] = [this.bytes(at, room), this.view(result, 4)];
        const target = encoder.encode(preopen.tree.readlink(node, this.text(path, length)));
        const part = target.subarray(0, into.length);
        into.set(part);
        words.setUint32(0, part.length, true);
      },
    ),
    path_filestat_get: call((fd: number, lookup: number, path: number, length: number, result: number) => {
      const { node, preopen } = this.directory(fd);
      const into = this.view(result, FILESTAT);
      const found = preopen.tree.find(node, this.text(path, length), (lookup & LOOKUP_FOLLOW) !== 0);
      this.stat(found, preopen.tree, into);
    }),
    path_filestat_set_times: call(
      (
        fd: number,
        lookup: number,
        path: number,
        length: number,
        atime: bigint,
        mtime: bigint,
        flags: number,
      ) => {
        const { node, tree } = this.changing(fd);
        const found = tree.find(node, this.text(path, length), (lookup & LOOKUP_FOLLOW) !== 0);
        setTimes(found, atime, mtime, flags);
        tree.touched();
      },
    ),
  };

  /** Memory of the module's. */
  private bytes(at: number, length: number): Uint8Array {
    const memory = this.memory();
    const [from, count] = [at >>> 0, length >>> 0];
    if (from + count > memory.byteLength) throw new FileError('FAULT');
    return new Uint8Array(memory, from, count);
  }

  private view(at: number, length: number): DataView {
    const { buffer, byteOffset } = this.bytes(at, length);
    return new DataView(buffer, byteOffset, length);
  }

  private text(at: number, length: number): string {
    if (length >>> 0 > PATH_MAX) throw new FileError('NAMETOOLONG');
    try {
      return decoder.decode(this.bytes(at, length));
    } catch (error) {
      throw error instanceof FileError ? error : new FileError('ILSEQ');
    }
  }

  private buffers(list: number, count: number): Uint8Array[] {
    if (count >>> 0 > MOST_BUFFERS) throw new FileError('INVAL');
    const words = this.view(list, 8 * count);
    return Array.from({ length: count }, (_, nth) =>
      this.bytes(words.getUint32(8 * nth, true), words.getUint32(8 * nth + 4, true)),
    );
  }

  private get(fd: number): Opened {
    const opened = this.opened.get(fd);
    if (opened === undefined) throw new FileError('BADF');
    return opened;
  }

  private preopened(fd: number): Uint8Array {
    this.get(fd);
    const path = this.paths[fd - PREOPEN_FD];
    if (path === undefined) throw new FileError('BADF');
    return path;
  }

  private directory(fd: number): OpenDirectory {
    const opened = this.get(fd);
    if (opened.kind !== 'directory') throw new FileError('NOTDIR');
    return opened;
  }

  /** A directory that is to be changed. */
  private changing(fd: number): { node: DirectoryNode; tree: Tree } {
    const { node, preopen } = this.directory(fd);
    if (preopen.readOnly) throw new FileError('ROFS');
    return { node, tree: preopen.tree };
  }

  /** The two directories of a move. */
  private both(fd: number, other: number): [{ node: DirectoryNode; tree: Tree }, DirectoryNode] {
    const [from, to] = [this.changing(fd), this.changing(other)];
    if (from.tree !== to.tree) throw new FileError('XDEV');
    return [from, to.node];
  }

  private file(fd: number, right = 0n): OpenFile {
    const opened = this.get(fd);
    if (opened.kind !== 'file') throw new FileError(right === RIGHTS.READ ? 'ISDIR' : 'BADF');
    if ((opened.rights & right) !== right) throw new FileError('BADF');
    return opened;
  }

  private add(opened: Opened): number {
    const fd = this.closed.pop() ?? this.fresh++;
    this.opened.set(fd, opened);
    return fd;
  }

  private read(file: OpenFile, list: number, count: number, at: number, result: number): number {
    const [buffers, words] = [this.buffers(list, count), this.view(result, 4)];
    let done = 0;
    for (const buffer of buffers) done += file.node.content.read(buffer, at + done);
    words.setUint32(0, done, true);
    return done;
  }

  private write(file: OpenFile, list: number, count: number, at: number, result: number): number {
    const [buffers, words] = [this.buffers(list, count), this.view(result, 4)];
    let done = 0;
    for (const buffer of buffers) {
      const moved = file.node.write(buffer, at + done);
      done += moved;
      if (moved < buffer.length) break;
    }
    if (done === 0 && buffers.some((buffer) => buffer.length > 0)) throw new FileError('NOSPC');
    words.setUint32(0, done, true);
    file.preopen.tree.touched();
    return done;
  }

  private describe(opened: Opened, words: DataView): void {
    const ofDirectory = opened.preopen.readOnly ? RIGHTS_LOOK : RIGHTS_FILES;
    const rights = opened.kind === 'file' ? opened.rights : ofDirectory;
    words.setUint8(0, TYPES[opened.kind]);
    words.setUint8(1, 0);
    words.setUint16(2, opened.kind === 'file' && opened.append ? FLAG_APPEND : 0, true);
    words.setUint32(4, 0, true);
    words.setBigUint64(8, rights, true);
    words.setBigUint64(16, opened.kind === 'file' ? 0n : ofDirectory, true);
  }

  private stat(node: Node, tree: Tree, words: DataView): void {
    words.setBigUint64(0, BigInt(tree.device), true);
    words.setBigUint64(8, BigInt(node.number), true);
    // What follows the type is padding.
    words.setBigUint64(16, BigInt(TYPES[node.kind]), true);
    words.setBigUint64(24, BigInt(node.links), true);
    words.setBigUint64(32, BigInt(node.size), true);
    words.setBigUint64(40, node.atime, true);
    words.setBigUint64(48, node.mtime, true);
    words.setBigUint64(56, node.ctime, true);
  }
}

/** A function of WASI's of one whose errors are thrown. */
function call<A extends never[]>(work: (...args: A) => void): Call {
  return (...args) => {
    try {
      work(...(args as A));
      return Errno.SUCCESS;
    } catch (error) {
      if (error instanceof FileError) return error.errno;
      throw error;
    }
  };
}

/** An offset or a size: 64 bits without a sign. What is beyond the largest file stays that. */
function number(value: bigint): number {
  return Number(BigInt.asUintN(64, value));
}

function setTimes(node: Node, atime: bigint, mtime: bigint, flags: number): void {
  const now = BigInt(Date.now()) * 1_000_000n;
  const time = (set: number, setNow: number, to: bigint) => {
    if ((flags & set) !== 0 && (flags & setNow) !== 0) throw new FileError('INVAL');
    return (flags & setNow) !== 0 ? now : (flags & set) !== 0 ? BigInt.asUintN(64, to) : undefined;
  };
  node.setTimes(time(SetTime.ATIM, SetTime.ATIM_NOW, atime), time(SetTime.MTIM, SetTime.MTIM_NOW, mtime));
}

/** Lists a directory from a cookie on, until nothing fits any more; how many bytes that gave. */
function list(directory: OpenDirectory, into: Uint8Array, cookie: number): number {
  const { node } = directory;
  const isGone = node.links === 0;
  if (cookie === 0) directory.names = isGone ? [] : ['.', '..', ...node.entries.keys()];
  let done = 0;
  for (let nth = cookie; nth < directory.names.length && done < into.length; nth += 1) {
    const name = directory.names[nth] ?? '';
    const entry = name === '.' ? node : name === '..' ? (node.parent ?? node) : node.entries.get(name);
    // It was removed in the meantime.
    if (entry === undefined) continue;
    const text = encoder.encode(name);
    const record = new Uint8Array(DIRENT + text.length);
    const words = new DataView(record.buffer);
    words.setBigUint64(0, BigInt(nth + 1), true);
    words.setBigUint64(8, BigInt(entry.number), true);
    words.setUint32(16, text.length, true);
    words.setUint8(20, TYPES[entry.kind]);
    record.set(text, DIRENT);
    const part = record.subarray(0, into.length - done);
    into.set(part, done);
    done += part.length;
  }
  return done;
}
