/**
 * Directories in memory, which a page and a container share.
 *
 * @module
 */

import { MOST_DIRECTORIES } from './abi.js';
import { allocate } from './content.js';
import { FileError } from './errors.js';
import type { Preopen } from './preview1_files.js';
import { Tree, type DirectoryNode, type Node } from './tree.js';

export { FileError } from './errors.js';

/** What is known of a file. */
export interface Stat {
  kind: 'file' | 'directory' | 'symlink';
  /** Bytes. */
  size: number;
  /** When its content was last changed. */
  modified: Date;
  /** The same for all names of one file, and for no other file of the {@link Directory}. */
  inode: number;
}

/** A file in a listing. */
export interface Entry extends Stat {
  name: string;
}

/** A directory at a guest path: alone, or with how it is mounted. */
export type Mount = Directory | { directory: Directory; readOnly: boolean };

/** Milliseconds between two calls of {@link Directory.onchange}, at least. */
const PAUSE = 100;

/**
 * A directory in memory. A container that it is mounted in (`directories` of {@link RunOptions}) and the page
 * see each other's changes at once.
 *
 * Paths are relative to it, with `/` between names; `''` is the directory itself. What fails is a
 * {@link FileError}. Symbolic links are followed by `write`, `read` and `list`.
 */
export class Directory {
  /**
   * What is in it, as a container's host sees it.
   *
   * @internal
   */
  readonly tree = new Tree();
  /** Called some time after a container has changed something, at most ten times in a second. */
  onchange: (() => void) | null = null;
  private timer: ReturnType<typeof setTimeout> | null = null;

  constructor() {
    this.tree.touched = () => {
      if (this.onchange === null) return;
      this.timer ??= setTimeout(() => {
        this.timer = null;
        this.onchange?.();
      }, PAUSE);
    };
  }

  /** Gives a file this content. Makes it, and the directories that it lies in, where they are missing. */
  write(path: string, data: Uint8Array | string): void {
    this.on(path, (root, at) => {
      this.make(root, parent(at));
      const node = this.tree.open(root, at, { follow: true, create: true, truncate: true, write: true });
      const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : data;
      if (node.kind === 'file' && node.write(bytes, 0) < bytes.length) throw new FileError('NOSPC');
    });
  }

  /** The content of a file. */
  read(path: string): Uint8Array {
    return this.on(path, (root, at) => {
      const node = this.tree.find(root, at, true);
      if (node.kind !== 'file') throw new FileError('ISDIR');
      const bytes = allocate(node.size);
      if (bytes === null) throw new FileError('FBIG');
      node.content.read(bytes, 0);
      return bytes;
    });
  }

  /** What is in a directory, in no order. */
  list(path = ''): Entry[] {
    return this.on(path, (root, at) => {
      const node = this.tree.find(root, at, true);
      if (node.kind !== 'directory') throw new FileError('NOTDIR');
      return [...node.entries].map(([name, entry]) => ({ name, ...known(entry) }));
    });
  }

  /** What is known of a file, of a symbolic link itself; `null` when there is none. */
  stat(path: string): Stat | null {
    return this.on(path, (root, at) => {
      try {
        return known(this.tree.find(root, at, false));
      } catch (error) {
        if (error instanceof FileError && (error.error === 'NOENT' || error.error === 'NOTDIR')) return null;
        throw error;
      }
    });
  }

  /** Makes a directory, and those that it lies in, where they are missing. */
  mkdir(path: string): void {
    this.on(path, (root, at) => this.make(root, at));
  }

  /** Removes a file, or a directory with all that is in it. What a container has open it can still use. */
  remove(path: string): void {
    this.on(path, (root, at) => this.tree.remove(root, at));
  }

  /** Moves a file or a directory, and replaces what is there, but no directory that is not empty. */
  rename(from: string, to: string): void {
    this.on(from, (root, at) => this.tree.rename(root, at, root, to));
  }

  /** Makes a symbolic link. */
  symlink(target: string, path: string): void {
    this.on(path, (root, at) => this.tree.symlink(target, root, at));
  }

  /** Where a symbolic link leads. */
  readlink(path: string): string {
    return this.on(path, (root, at) => this.tree.readlink(root, at));
  }

  /** Gives a file another name. */
  link(existing: string, path: string): void {
    this.on(path, (root, at) => this.tree.link(root, existing, false, root, at));
  }

  /** Sets the time when a file was last changed, a symbolic link's own. */
  setModified(path: string, modified: Date): void {
    this.on(path, (root, at) => {
      this.tree.find(root, at, false).setTimes(undefined, BigInt(modified.getTime()) * 1_000_000n);
    });
  }

  /** Makes a directory and those before it. */
  private make(root: DirectoryNode, path: string): void {
    const names = path.split('/');
    names.forEach((_, nth) => {
      const part = names.slice(0, nth + 1).join('/');
      try {
        this.tree.mkdir(root, part);
      } catch (error) {
        if (!(error instanceof FileError && error.error === 'EXIST')) throw error;
        if (this.tree.find(root, part, true).kind !== 'directory') throw new FileError('NOTDIR');
      }
    });
  }

  /** Does something; an error says with which path. */
  private on<T>(path: string, work: (root: DirectoryNode, path: string) => T): T {
    try {
      if (path.startsWith('/')) throw new FileError('NOTCAPABLE');
      return work(this.tree.root, path === '' ? '.' : path);
    } catch (error) {
      throw error instanceof FileError ? new FileError(error.error, path) : error;
    }
  }
}

/** The path of what `path` lies in. */
function parent(path: string): string {
  const end = path.lastIndexOf('/');
  return end < 0 ? '.' : path.slice(0, end);
}

function known(node: Node): Stat {
  const { kind, size, mtime, number } = node;
  return { kind, size, modified: new Date(Number(mtime / 1_000_000n)), inode: number };
}

/** The directories of a run, or an error that says what is wrong with them. */
export function preopens(directories: Readonly<Record<string, Mount>>): Preopen[] {
  const all = Object.entries(directories);
  if (all.length > MOST_DIRECTORIES) {
    const most = `at most ${MOST_DIRECTORIES} can be mounted: mount one that holds several`;
    throw new RangeError(`directories: ${all.length} are given, and ${most}`);
  }
  return all.map(([path, mount]) => {
    if (!path.startsWith('/')) {
      const name = JSON.stringify(path);
      throw new RangeError(`directories: ${name} is no path in the container: begin it with a slash`);
    }
    const isAlone = mount instanceof Directory;
    const { directory, readOnly } = isAlone ? { directory: mount, readOnly: false } : mount;
    return { path, tree: directory.tree, readOnly };
  });
}
