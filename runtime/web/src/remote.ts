/**
 * Directories in memory of a container that runs in a worker: {@link "files".Directory} from afar.
 *
 * @module
 */

import { FileError, type Directory, type Entry, type Stat } from './files.js';
import type { FileErrorName } from './errors.js';

/** What can be asked of a directory. */
export type Method =
  | 'write'
  | 'read'
  | 'list'
  | 'stat'
  | 'mkdir'
  | 'remove'
  | 'rename'
  | 'symlink'
  | 'readlink'
  | 'link'
  | 'setModified';

/** A question about a directory: the method and its arguments. */
export interface Question {
  id: number;
  path: string;
  method: Method;
  args: unknown[];
}

/** The answer: what the method gave, or the error that it threw. */
export type Answer = { id: number } & ({ value: unknown } | { error: FileErrorName | null; message: string });

/** Answers a question, in the worker. */
export function answer(directories: Readonly<Record<string, Directory>>, question: Question): Answer {
  const { id, path, method, args } = question;
  try {
    const directory = directories[path];
    if (directory === undefined) throw new Error(`there is no directory for ${path}`);
    const ask = directory[method] as (...args: unknown[]) => unknown;
    return { id, value: ask.apply(directory, args) };
  } catch (error) {
    const { message } = error instanceof Error ? error : new Error(String(error));
    return { id, error: error instanceof FileError ? error.error : null, message };
  }
}

/**
 * A directory in the memory of a container's worker: a {@link Directory} whose answers are promises. It
 * belongs to the first container that it is given to, and is there until that is destroyed.
 */
export class RemoteDirectory {
  /** Called some time after a container has changed something, at most ten times in a second. */
  onchange: (() => void) | null = null;
  private ask: ((method: Method, args: unknown[]) => Promise<unknown>) | null = null;
  private readonly waiting: (() => void)[] = [];

  /**
   * Connects it to its worker.
   *
   * @internal
   */
  attach(ask: (method: Method, args: unknown[]) => Promise<unknown>): void {
    if (this.ask !== null) throw new TypeError('this directory belongs to another container: make one for each');
    this.ask = ask;
    this.waiting.splice(0).forEach((go) => go());
  }

  /**
   * Its container does not come.
   *
   * @internal
   */
  close(): void {
    this.ask ??= () => Promise.reject(new Error('the container of this directory has not started'));
    this.waiting.splice(0).forEach((go) => go());
  }

  private async call<Value>(method: Method, ...args: unknown[]): Promise<Value> {
    if (this.ask === null) await new Promise<void>((resolve) => this.waiting.push(resolve));
    return (await this.ask?.(method, args)) as Value;
  }

  /** {@link Directory.write} */
  write(path: string, data: Uint8Array | string): Promise<void> {
    return this.call('write', path, typeof data === 'string' ? data : this.alone(data));
  }
  /**
   * Bytes that can be sent: a view's whole buffer would be. They are sent later where there is no container
   * yet, and the writer's buffer may be another's by then.
   */
  private alone(bytes: Uint8Array): Uint8Array {
    const isWhole = bytes.buffer instanceof ArrayBuffer && bytes.byteLength === bytes.buffer.byteLength;
    return isWhole && this.ask !== null ? bytes : new Uint8Array(bytes);
  }
  /** {@link Directory.read} */
  read(path: string): Promise<Uint8Array<ArrayBuffer>> {
    return this.call('read', path);
  }
  /** {@link Directory.list} */
  list(path = ''): Promise<Entry[]> {
    return this.call('list', path);
  }
  /** {@link Directory.stat} */
  stat(path: string): Promise<Stat | null> {
    return this.call('stat', path);
  }
  /** {@link Directory.mkdir} */
  mkdir(path: string): Promise<void> {
    return this.call('mkdir', path);
  }
  /** {@link Directory.remove} */
  remove(path: string): Promise<void> {
    return this.call('remove', path);
  }
  /** {@link Directory.rename} */
  rename(from: string, to: string): Promise<void> {
    return this.call('rename', from, to);
  }
  /** {@link Directory.symlink} */
  symlink(target: string, path: string): Promise<void> {
    return this.call('symlink', target, path);
  }
  /** {@link Directory.readlink} */
  readlink(path: string): Promise<string> {
    return this.call('readlink', path);
  }
  /** {@link Directory.link} */
  link(existing: string, path: string): Promise<void> {
    return this.call('link', existing, path);
  }
  /** {@link Directory.setModified} */
  setModified(path: string, modified: Date): Promise<void> {
    return this.call('setModified', path, modified);
  }
}
