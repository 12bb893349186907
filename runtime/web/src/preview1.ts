/**
 * WASI preview 1 as a container's module needs it: clocks, entropy, arguments, environment, three streams
 * that never block, and Forelift's own descriptors. Files are in `preview1_files.ts`.
 *
 * @module
 */

import {
  CONTROL_FD,
  Clock,
  Errno,
  Exit,
  FLAG_NONBLOCK,
  FileType,
  LINK_FD,
  RECORD_SIZE,
  ROOT_FD,
  RIGHTS,
  record,
  type Event,
} from './abi.js';
import type { Input, Output } from './pipe.js';
import { Files, type Call, type Preopen } from './preview1_files.js';
import type { Root } from './root.js';

/** A stream of frames that leads to the container's network. */
export interface Link {
  /** Moves bytes that have come; how many, 0 at the end, -1 when there is nothing yet. */
  read(into: Uint8Array): number;
  /** Takes bytes; how many, 0 when there is no room, -1 when nobody takes any more. */
  write(from: Uint8Array): number;
}

/** What a module is given. */
export interface Surroundings {
  args: readonly string[];
  env: Readonly<Record<string, string>>;
  stdin: Input | null;
  stdout: Output;
  stderr: Output;
  link: Link | null;
  /** The root file system, where the module has none. */
  root: Root | null;
  /** The terminal that the container's streams are, if they are one. */
  terminal: { rows: number; cols: number } | null;
  /** The directories that are mounted. */
  directories: readonly Preopen[];
}

/** Most bytes that one call of `crypto.getRandomValues` gives. */
const RANDOM = 65536;

/** The imports `wasi_snapshot_preview1` of one instance. */
export class Preview1 {
  private readonly events: Event[];
  private readonly args: Uint8Array[];
  private readonly env: Uint8Array[];
  /** What serves the directories, where there are some. */
  private readonly files: Files | null;
  /** The instance's memory: there once it is instantiated. */
  memory: WebAssembly.Memory | null = null;

  constructor(private readonly around: Surroundings) {
    const encoder = new TextEncoder();
    const word = (text: string) => encoder.encode(`${text}\0`);
    this.args = around.args.map(word);
    this.env = Object.entries(around.env).map(([name, value]) => word(`${name}=${value}`));
    const { terminal, directories } = around;
    this.files = directories.length === 0 ? null : new Files(directories, () => this.buffer());
    const size = terminal ?? { rows: 0, cols: 0 };
    this.events = [{ kind: 'terminal', tty: terminal !== null, raw: terminal !== null, ...size }];
  }

  /** Tells the container of an event. */
  tell(event: Event): void {
    this.events.push(event);
  }

  /** The functions. Those that a module imports besides give `ENOSYS`. */
  imports(module: WebAssembly.Module): WebAssembly.ModuleImports {
    const own: Record<string, Call> = {
      args_get: (table: number, text: number) => this.words(this.args, table, text),
      args_sizes_get: (count: number, size: number) => this.sizes(this.args, count, size),
      environ_get: (table: number, text: number) => this.words(this.env, table, text),
      environ_sizes_get: (count: number, size: number) => this.sizes(this.env, count, size),
      clock_time_get: (clock: number, _precision: bigint, result: number) => this.clock(clock, result),
      random_get: (at: number, length: number) => this.random(at, length),
      fd_read: (fd: number, list: number, count: number, result: number) =>
        this.finish(this.read(fd, this.buffers(list, count)), result),
      fd_pread: (fd: number, list: number, count: number, offset: bigint, result: number) =>
        this.finish(this.pread(fd, this.buffers(list, count), offset), result),
      fd_write: (fd: number, list: number, count: number, result: number) =>
        this.finish(this.write(fd, this.buffers(list, count)), result),
      fd_fdstat_get: (fd: number, result: number) => this.describe(fd, result),
      fd_fdstat_set_flags: (fd: number) => (this.isOpen(fd) ? Errno.SUCCESS : Errno.BADF),
      fd_tell: (fd: number) => (this.isOpen(fd) ? Errno.SPIPE : Errno.BADF),
      // Of what is no directory, nothing is told or closed.
      fd_prestat_get: () => Errno.BADF,
      fd_close: () => Errno.BADF,
      proc_exit: (status: number) => {
        throw new Exit(status);
      },
    };
    const all: WebAssembly.ModuleImports = {};
    for (const { module: from, name } of WebAssembly.Module.imports(module)) {
      if (from === 'wasi_snapshot_preview1') all[name] = this.choose(own[name], this.files?.calls[name]);
    }
    return all;
  }

  /** Of two functions of one name the one for the descriptor, which is their first argument. */
  private choose(own: Call | undefined, ofFiles: Call | undefined): Call {
    if (own === undefined || ofFiles === undefined) return own ?? ofFiles ?? (() => Errno.NOSYS);
    return (fd: never, ...rest) => (this.files?.owns(fd) ? ofFiles : own)(fd, ...rest);
  }

  private bytes(at: number, length: number): Uint8Array {
    return new Uint8Array(this.buffer(), at >>> 0, length >>> 0);
  }

  private view(): DataView {
    return new DataView(this.buffer());
  }

  private buffer(): ArrayBuffer {
    if (this.memory === null) throw new Error('the module is not instantiated yet');
    return this.memory.buffer;
  }

  private buffers(list: number, count: number): Uint8Array[] {
    const words = this.view();
    const at = (nth: number) => (list >>> 0) + 8 * nth;
    return Array.from({ length: count }, (_, nth) =>
      this.bytes(words.getUint32(at(nth), true), words.getUint32(at(nth) + 4, true)),
    );
  }

  /** Stores what a transfer gave: bytes, or an error below 0. */
  private finish(done: number, result: number): number {
    if (done < 0) return -done;
    this.view().setUint32(result >>> 0, done, true);
    return Errno.SUCCESS;
  }

  private words(words: readonly Uint8Array[], table: number, text: number): number {
    let at = text >>> 0;
    words.forEach((word, nth) => {
      this.view().setUint32((table >>> 0) + 4 * nth, at, true);
      this.bytes(at, word.length).set(word);
      at += word.length;
    });
    return Errno.SUCCESS;
  }

  private sizes(words: readonly Uint8Array[], count: number, size: number): number {
    this.view().setUint32(count >>> 0, words.length, true);
    this.view().setUint32(size >>> 0, words.reduce((sum, word) => sum + word.length, 0), true);
    return Errno.SUCCESS;
  }

  private clock(clock: number, result: number): number {
    if (clock !== Clock.REALTIME && clock !== Clock.MONOTONIC) return Errno.INVAL;
    // The one that never goes back says nothing of a host that was asleep, or whose clock was set.
    const ms = clock === Clock.MONOTONIC ? performance.now() : Date.now();
    const whole = Math.floor(ms);
    const ns = BigInt(whole) * 1_000_000n + BigInt(Math.round((ms - whole) * 1e6));
    this.view().setBigUint64(result >>> 0, ns, true);
    return Errno.SUCCESS;
  }

  private random(at: number, length: number): number {
    const bytes = this.bytes(at, length);
    for (let from = 0; from < bytes.length; from += RANDOM) {
      crypto.getRandomValues(bytes.subarray(from, from + RANDOM));
    }
    return Errno.SUCCESS;
  }

  private isOpen(fd: number): boolean {
    return (fd >= 0 && fd <= 2) || fd === CONTROL_FD || this.isGiven(fd);
  }

  /** Whether it is a descriptor that not every container has. */
  private isGiven(fd: number): boolean {
    const { link, root } = this.around;
    return (fd === LINK_FD && link !== null) || (fd === ROOT_FD && root !== null);
  }

  private pread(fd: number, buffers: Uint8Array[], offset: bigint): number {
    const { root } = this.around;
    return fd === ROOT_FD && root !== null ? root.pread(Number(offset), buffers) : -Errno.BADF;
  }

  private read(fd: number, buffers: Uint8Array[]): number {
    switch (fd) {
      case 0:
        return move(buffers, (buffer) => this.around.stdin?.read(buffer) ?? 0, Errno.AGAIN);
      case CONTROL_FD:
        return this.control(buffers);
      case LINK_FD: {
        const { link } = this.around;
        return link === null ? -Errno.BADF : move(buffers, (buffer) => link.read(buffer), Errno.AGAIN);
      }
      default:
        return -Errno.BADF;
    }
  }

  private write(fd: number, buffers: Uint8Array[]): number {
    const { stdout, stderr, link } = this.around;
    const to = fd === 1 ? stdout : fd === 2 ? stderr : fd === LINK_FD ? link : null;
    if (to === null) return -Errno.BADF;
    const done = move(buffers, (buffer) => to.write(buffer), Errno.PIPE);
    const asked = buffers.some((buffer) => buffer.length > 0);
    return done === 0 && asked ? -Errno.AGAIN : done;
  }

  private control(buffers: Uint8Array[]): number {
    const [buffer] = buffers;
    if (buffer === undefined || buffer.length < RECORD_SIZE) return -Errno.INVAL;
    const words = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
    let at = 0;
    for (let event = this.events[0]; event !== undefined && at + RECORD_SIZE <= buffer.length; event = this.events[0]) {
      record(event).forEach((word, nth) => words.setUint32(at + 4 * nth, word, true));
      at += RECORD_SIZE;
      this.events.shift();
    }
    return at > 0 ? at : -Errno.AGAIN;
  }

  private describe(fd: number, result: number): number {
    if (!this.isOpen(fd)) return Errno.BADF;
    const tty = fd <= 2 && this.around.terminal !== null;
    const type = fd === LINK_FD ? FileType.SOCKET_STREAM : tty ? FileType.CHARACTER_DEVICE : FileType.UNKNOWN;
    this.bytes(result, 24).fill(0);
    const words = this.view();
    words.setUint8(result >>> 0, type);
    words.setUint16((result >>> 0) + 2, FLAG_NONBLOCK, true);
    words.setBigUint64((result >>> 0) + 8, RIGHTS.READ | RIGHTS.WRITE | RIGHTS.POLL, true);
    return Errno.SUCCESS;
  }
}

/**
 * Moves bytes of one buffer after the other, until one is not moved whole; how many bytes, or an error below
 * 0: `failure` for a transfer that gave less than nothing at its beginning.
 */
function move(buffers: Uint8Array[], transfer: (buffer: Uint8Array) => number, failure: number): number {
  let done = 0;
  for (const buffer of buffers) {
    if (buffer.length === 0) continue;
    const moved = transfer(buffer);
    if (moved < 0) return done > 0 ? done : -failure;
    done += moved;
    if (moved < buffer.length) break;
  }
  return done;
}
