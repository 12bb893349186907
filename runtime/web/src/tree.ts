/**
 * A tree of files, directories and symbolic links in memory, with the rules of POSIX.
 *
 * The time of a file's last reading is not kept up, as on a file system that is mounted with `noatime`.
 *
 * @module
 */

import { Content } from './content.js';
import { FileError } from './errors.js';

/** Longest name, and longest path or target of a link, in bytes: Linux's. */
const NAME_MAX = 255;
const PATH_MAX = 4095;
/** Most symbolic links on the way to a file, as in Linux. */
const LINKS_MAX = 40;

/** What any file has. Times are in nanoseconds since 1970. */
class Inode {
  atime: bigint;
  mtime: bigint;
  ctime: bigint;

  constructor(
    readonly number: number,
    /** How many names it has; a directory also counts its own `.`, and the `..` of those in it. */
    public links: number,
  ) {
    this.atime = this.mtime = this.ctime = now();
  }

  /** Its attributes have changed. Each change has a time of its own, by which it is noticed. */
  changed(): void {
    const time = now();
    this.ctime = time > this.ctime ? time : this.ctime + 1n;
  }

  /** What it holds has changed. */
  modified(): void {
    this.changed();
    this.mtime = this.ctime;
  }

  /** Sets times; those that are not given stay. */
  setTimes(atime: bigint | undefined, mtime: bigint | undefined): void {
    this.changed();
    this.atime = atime ?? this.atime;
    this.mtime = mtime ?? this.mtime;
  }
}

/** A regular file. */
export class FileNode extends Inode {
  readonly kind = 'file';
  readonly content = new Content();

  get size(): number {
    return this.content.size;
  }

  /** Stores bytes at an offset; how many. */
  write(bytes: Uint8Array, at: number): number {
    const done = this.content.write(bytes, at);
    if (done > 0) this.modified();
    return done;
  }

  /** Sets its length. */
  resize(size: number): void {
    this.content.resize(size);
    this.modified();
  }
}

/** A directory. */
export class DirectoryNode extends Inode {
  readonly kind = 'directory';
  readonly size = 0;
  readonly entries = new Map<string, Node>();

  /** The one that it lies in; the root lies in none. */
  constructor(
    number: number,
    public parent: DirectoryNode | null,
  ) {
    super(number, 2);
  }

  /** Gives a file a name in it, which nothing has, or what is to be replaced and was told that it lost it. */
  put(name: string, node: Node): void {
    // Nothing is made in a directory that was removed.
    if (this.links === 0) throw new FileError('NOENT');
    this.entries.set(name, node);
    if (node.kind === 'directory') {
      node.parent = this;
      this.links += 1;
    }
    this.modified();
  }

  /** Takes a name away; the file does not know yet. */
  take(name: string, node: Node): void {
    this.entries.delete(name);
    if (node.kind === 'directory') this.links -= 1;
    this.modified();
  }

  /** Whether it is `other`, or lies in it. */
  isWithin(other: Node): boolean {
    for (let at: DirectoryNode | null = this; at !== null; at = at.parent) if (at === other) return true;
    return false;
  }
}

/** A symbolic link. */
export class LinkNode extends Inode {
  readonly kind = 'symlink';

  constructor(
    number: number,
    readonly target: string,
  ) {
    super(number, 1);
  }

  get size(): number {
    return byteLength(this.target);
  }
}

/** Any file. */
export type Node = FileNode | DirectoryNode | LinkNode;

/** What a path leads to: a name in a directory, and what has it. `name` may be `.` or `..`. */
interface Place {
  dir: DirectoryNode;
  name: string;
  node: Node | undefined;
  /** Whether the path says by a slash at its end that this is a directory. */
  slash: boolean;
}

/** Whether a symbolic link in the last component is followed: never, by a slash behind it, always. */
type Follow = 'never' | 'slash' | 'always';

/** How a file is opened: what is not given is not so. */
export interface How {
  follow?: boolean;
  create?: boolean;
  exclusive?: boolean;
  directory?: boolean;
  truncate?: boolean;
  write?: boolean;
}

let devices = 0;

/** A file system in memory. Its paths begin in a directory of it, and never leave that. */
export class Tree {
  /** Told of by `stat`, as its device. */
  readonly device = (devices += 1);
  private inodes = 1;
  readonly root = new DirectoryNode(1, null);
  /** Called when a container has changed something. */
  touched: () => void = () => undefined;

  /** What a path leads to. Without `follow`, a symbolic link itself. */
  find(base: DirectoryNode, path: string, follow: boolean): Node {
    return existing(walk(base, path, follow ? 'always' : 'slash'));
  }

  /** Opens a file or a directory. */
  open(base: DirectoryNode, path: string, how: How): FileNode | DirectoryNode {
    const isNew = how.create && how.exclusive;
    if (how.create && how.directory) throw new FileError('INVAL');
    const follow = how.follow && !isNew ? 'always' : how.create ? 'never' : 'slash';
    const place = walk(base, path, follow, how.create);
    if (isNew && place.node !== undefined) throw new FileError('EXIST');
    if (how.create && place.node === undefined) {
      const file = new FileNode(this.number(), 1);
      place.dir.put(place.name, file);
      return file;
    }
    const node = existing(place);
    if (node.kind === 'symlink') throw new FileError(how.directory ? 'NOTDIR' : 'LOOP');
    if (how.directory && node.kind !== 'directory') throw new FileError('NOTDIR');
    if (node.kind === 'directory' && (how.create || how.write || how.truncate)) throw new FileError('ISDIR');
    if (node.kind === 'file' && how.truncate) node.resize(0);
    return node;
  }

  /** Makes a directory. */
  mkdir(base: DirectoryNode, path: string): void {
    const { dir, name } = free(walk(base, path, 'never'));
    dir.put(name, new DirectoryNode(this.number(), dir));
  }

  /** Makes a symbolic link. */
  symlink(target: string, base: DirectoryNode, path: string): void {
    if (target === '') throw new FileError('NOENT');
    if (byteLength(target) > PATH_MAX) throw new FileError('NAMETOOLONG');
    const { dir, name, slash } = free(walk(base, path, 'never'));
    if (slash) throw new FileError('NOENT');
    dir.put(name, new LinkNode(this.number(), checked(target)));
  }

  /** Where a symbolic link leads. */
  readlink(base: DirectoryNode, path: string): string {
    const node = this.find(base, path, false);
    if (node.kind !== 'symlink') throw new FileError('INVAL');
    return node.target;
  }

  /** Gives a file another name. */
  link(from: DirectoryNode, old: string, follow: boolean, to: DirectoryNode, path: string): void {
    const node = this.find(from, old, follow);
    const { dir, name, slash } = free(walk(to, path, 'never'));
    if (slash) throw new FileError('NOENT');
    if (node.kind === 'directory') throw new FileError('PERM');
    dir.put(name, node);
    node.links += 1;
    node.changed();
  }

  /** Removes a name that is no directory's. */
  unlink(base: DirectoryNode, path: string): void {
    const place = walk(base, path, 'never');
    if (isDots(place.name)) throw new FileError('ISDIR');
    const { node = missing() } = place;
    if (node.kind === 'directory') throw new FileError('ISDIR');
    if (place.slash) throw new FileError('NOTDIR');
    place.dir.take(place.name, node);
    lose(node);
  }

  /** Removes an empty directory. */
  rmdir(base: DirectoryNode, path: string): void {
    const { dir, name, node = missing() } = walk(base, path, 'never');
    if (name === '.') throw new FileError('INVAL');
    if (name === '..') throw new FileError('NOTEMPTY');
    if (node.kind !== 'directory') throw new FileError('NOTDIR');
    if (node.entries.size > 0) throw new FileError('NOTEMPTY');
    dir.take(name, node);
    lose(node);
  }

  /** Renames a file, or a directory and what is in it; replaces what has the new name. */
  rename(from: DirectoryNode, old: string, to: DirectoryNode, path: string): void {
    const [source, target] = [walk(from, old, 'never'), walk(to, path, 'never')];
    if (isDots(source.name) || isDots(target.name)) throw new FileError('BUSY');
    const { node = missing() } = source;
    const there = target.node;
    if (node.kind !== 'directory' && (source.slash || target.slash)) throw new FileError('NOTDIR');
    if (source.dir !== target.dir) {
      if (target.dir.isWithin(node)) throw new FileError('INVAL');
      if (there !== undefined && source.dir.isWithin(there)) throw new FileError('NOTEMPTY');
    }
    // Two names of one file: both stay.
    if (there === node) return;
    if (there !== undefined) {
      if (node.kind === 'directory' && there.kind !== 'directory') throw new FileError('NOTDIR');
      if (node.kind !== 'directory' && there.kind === 'directory') throw new FileError('ISDIR');
      if (there.kind === 'directory' && there.entries.size > 0) throw new FileError('NOTEMPTY');
    } else if (target.dir.links === 0) throw new FileError('NOENT');
    source.dir.take(source.name, node);
    if (there !== undefined) {
      if (there.kind === 'directory') target.dir.links -= 1;
      lose(there);
    }
    target.dir.put(target.name, node);
    node.changed();
  }

  /** Removes whatever has a name, a directory with all that is in it. */
  remove(base: DirectoryNode, path: string): void {
    const { dir, name, node = missing() } = walk(base, path, 'never');
    if (isDots(name)) throw new FileError('BUSY');
    dir.take(name, node);
    const gone = [node];
    for (let next = gone.pop(); next !== undefined; next = gone.pop()) {
      lose(next);
      if (next.kind !== 'directory') continue;
      for (const entry of next.entries.values()) gone.push(entry);
      next.entries.clear();
    }
  }

  private number(): number {
    return (this.inodes += 1);
  }
}

/** Follows a path, all but its last component. With `isFile`, a slash at its end is refused. */
function walk(base: DirectoryNode, path: string, follow: Follow, isFile = false): Place {
  if (path === '') throw new FileError('NOENT');
  if (byteLength(path) > PATH_MAX) throw new FileError('NAMETOOLONG');
  checked(path);
  const way = [base];
  const rest: string[] = [];
  const enter = (part: string) => {
    if (part.startsWith('/')) throw new FileError('NOTCAPABLE');
    const names = part.split('/').filter((name) => name !== '');
    rest.push(...names.reverse());
  };
  enter(path);
  let slash = path.endsWith('/');
  let links = 0;
  for (;;) {
    const dir = way.at(-1) ?? base;
    const name = rest.pop() ?? '.';
    const isLast = rest.length === 0;
    if (name === '..') {
      way.pop();
      if (way.length === 0) throw new FileError('NOTCAPABLE');
    }
    if (isDots(name)) {
      if (isLast) return { dir, name, node: way.at(-1), slash };
      continue;
    }
    if (byteLength(name) > NAME_MAX) throw new FileError('NAMETOOLONG');
    if (isLast && slash && isFile) throw new FileError('ISDIR');
    const node = dir.entries.get(name);
    const isFollowed = !isLast || follow === 'always' || (follow === 'slash' && slash);
    if (node?.kind === 'symlink' && isFollowed) {
      links += 1;
      if (links > LINKS_MAX) throw new FileError('LOOP');
      slash ||= isLast && node.target.endsWith('/');
      enter(node.target);
      continue;
    }
    if (isLast) return { dir, name, node, slash };
    if (node === undefined) throw new FileError('NOENT');
    if (node.kind !== 'directory') throw new FileError('NOTDIR');
    way.push(node);
  }
}

/** What is at a place. */
function existing({ node = missing(), slash }: Place): Node {
  if (slash && node.kind !== 'directory') throw new FileError('NOTDIR');
  return node;
}

/** A place where something may be made. */
function free(place: Place): Place {
  if (place.node !== undefined) throw new FileError('EXIST');
  return place;
}

function missing(): never {
  throw new FileError('NOENT');
}

/** A file has lost a name. */
function lose(node: Node): void {
  node.links = node.kind === 'directory' ? 0 : node.links - 1;
  node.changed();
}

function isDots(name: string): boolean {
  return name === '.' || name === '..';
}

function now(): bigint {
  return BigInt(Date.now()) * 1_000_000n;
}

const encoder = new TextEncoder();

/** Bytes of a text as UTF-8. */
function byteLength(text: string): number {
  return encoder.encode(text).length;
}

/** A path that can be told to anybody: of whole characters, none of them NUL. */
function checked(path: string): string {
  if (/\p{Surrogate}/u.test(path)) throw new FileError('ILSEQ');
  if (path.includes('\0')) throw new FileError('INVAL');
  return path;
}
