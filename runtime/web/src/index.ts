/**
 * Runs Linux containers that `forelift convert` has made WebAssembly of.
 *
 * ```ts
 * import { run } from 'forelift';
 *
 * const container = await run({ image: 'debian.wasm', args: ['echo', 'hello'] });
 * console.log(await new Response(container.stdout).text(), await container.exited);
 * ```
 *
 * The machine runs on the event loop of the thread that calls {@link run}, in steps of some milliseconds: in
 * a page, that should be a worker's.
 *
 * @module
 */

import { LINK_FD } from './abi.js';
import { container, type Container, type Size } from './container.js';
import { Driver, type Runner } from './drive.js';
import { preopens, type Mount } from './files.js';
import { WebSocketLink } from './link.js';
import { load, type Image } from './image.js';
import { Waiter } from './jspi.js';
import { Machine } from './machine.js';
import { Input, Output } from './pipe.js';
import type { Progress } from './fetch.js';

export type { Event } from './abi.js';
export type { Container, Signal, Size } from './container.js';
export { FetchError, type Progress } from './fetch.js';
export { Directory, FileError, type Entry, type Mount, type Stat } from './files.js';
export { ImageError, type Image } from './image.js';
export { hasJspi } from './jspi.js';
export { RelayError } from './link.js';

/** What {@link run} runs. */
export interface RunOptions {
  image: Image;
  /** The image's own arguments: options, then a command in place of the image's own. None by default. */
  args?: readonly string[];
  /** Environment variables of the container's, besides the image's. */
  env?: Readonly<Record<string, string>>;
  /**
   * A terminal for the container, of this size (80 by 24 for `true`). Its output is all on `stdout` then;
   * what Forelift itself has to say comes on `stderr`, as ever.
   */
  tty?: boolean | Size;
  /** Whether there is standard input: without, the command reads its end. There is by default. */
  stdin?: boolean;
  /**
   * A relay that leads to a network (`forelift net-relay`): `ws://HOST:PORT/PATH`. None by default. Names are
   * asked of 10.0.2.3 there, and of what `--dns` in `args` says.
   */
  net?: string;
  /** Directories in memory by their paths in the container, at most 8. None by default. */
  directories?: Readonly<Record<string, Mount>>;
  /**
   * How the machine runs beside everything else of its thread: in steps, which is the default, or by
   * WebAssembly's JavaScript Promise Integration, where there is that ({@link hasJspi}).
   */
  mode?: 'step' | 'jspi';
  /** Ends the container, or what is done for its start: {@link run} fails with the signal's reason then. */
  signal?: AbortSignal;
  /** Told how much of a directory's image has come, until it runs. */
  onProgress?: (progress: Progress) => void;
  /**
   * Told when a part of a directory's image that the container reads cannot be fetched, which is tried again
   * and again; `null`: it has come.
   */
  onTrouble?: (error: Error | null) => void;
}

/** The resolver of `forelift net-relay`, and of QEMU's user network. */
const RESOLVER = '10.0.2.3';

/** Starts a container. */
export async function run(options: RunOptions): Promise<Container> {
  const directories = preopens(options.directories ?? {});
  const { tty = false } = options;
  const terminal = tty === true ? { rows: 24, cols: 80 } : tty === false ? null : tty;
  let runner: Runner | null = null;
  const wake = () => runner?.wake();
  const { signal } = options;
  signal?.throwIfAborted();
  const image = await load(options.image, options, wake);
  signal?.throwIfAborted();
  const link = options.net === undefined ? null : await WebSocketLink.open(options.net);
  if (link !== null) link.wake = wake;
  const input = new Input(wake);
  const [stdout, stderr] = [new Output(wake), new Output(wake)];
  const network = link === null ? [] : ['--net-stream', `fd:${LINK_FD}`, '--dns', RESOLVER];
  const around = {
    // The first is the program's name.
    args: ['image', ...network, ...(options.args ?? [])],
    env: options.env ?? {},
    stdin: options.stdin === false ? null : input,
    stdout,
    stderr,
    link,
    terminal,
    directories,
  };
  const waiter = options.mode === 'jspi' ? new Waiter(() => machine.buffer) : null;
  const machine: Machine = await Machine.new(image, around, waiter?.imports.bind(waiter));
  if (signal?.aborted) {
    link?.close();
    image.root?.close();
    throw signal.reason;
  }
  waiter?.start(machine.main);
  const running = waiter ?? new Driver(machine);
  runner = running;
  const over = () => {
    input.end();
    stdout.end();
    stderr.end();
    link?.close();
    image.root?.close();
  };
  running.ended.then(over, over);
  signal?.addEventListener('abort', () => running.kill(137), { once: true });
  return container({
    stdin: input.stream,
    stdout: stdout.stream,
    stderr: stderr.stream,
    exited: running.ended,
    tell: (event) => {
      machine.wasi.tell(event);
      wake();
    },
    destroy: () => running.kill(137),
  });
}
