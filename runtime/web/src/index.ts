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

import { LINK_FD, type Event } from './abi.js';
import { Driver, type Runner } from './drive.js';
import { preopens, type Mount } from './files.js';
import { WebSocketLink } from './link.js';
import { load, type Image } from './image.js';
import { Waiter } from './jspi.js';
import { Machine } from './machine.js';
import { Input, Output } from './pipe.js';
import type { Progress } from './fetch.js';

export { FetchError, type Progress } from './fetch.js';
export { Directory, FileError, type Entry, type Mount, type Stat } from './files.js';
export { ImageError, type Image } from './image.js';
export { hasJspi } from './jspi.js';
export { RelayError } from './link.js';

/** The size of a terminal. */
export interface Size {
  rows: number;
  cols: number;
}

/** What {@link run} runs. */
export interface RunOptions {
  image: Image;
  /** The image's own arguments: options, then a command in place of the image's own. None by default. */
  args?: readonly string[];
  /** Environment variables of the container's, besides the image's. */
  env?: Readonly<Record<string, string>>;
  /** A terminal for the container, of this size (80 by 24 for `true`). Its output is all on `stdout` then. */
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
  /** Told how much of a directory's image has come, until it runs. */
  onProgress?: (progress: Progress) => void;
  /**
   * Told when a part of a directory's image that the container reads cannot be fetched, which is tried again
   * and again; `null`: it has come.
   */
  onTrouble?: (error: Error | null) => void;
}

/** Linux's numbers of the signals that are sent from outside. */
const SIGNALS = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGKILL: 9,
  SIGUSR1: 10,
  SIGUSR2: 12,
  SIGTERM: 15,
  SIGCONT: 18,
  SIGTSTP: 20,
  SIGWINCH: 28,
} as const;

/** The resolver of `forelift net-relay`, and of QEMU's user network. */
const RESOLVER = '10.0.2.3';

/** The name of a signal. */
export type Signal = keyof typeof SIGNALS;

/** A container that runs. */
export interface Container {
  /** To be written to, closed at the end of what there is. */
  readonly stdin: WritableStream<Uint8Array>;
  /** What the command writes. A container whose output nobody reads waits, as one behind a pipe does. */
  readonly stdout: ReadableStream<Uint8Array>;
  readonly stderr: ReadableStream<Uint8Array>;
  /** The exit status, by docker's rules: 128 and the signal's number for a command that one has ended. */
  readonly exited: Promise<number>;
  /** The terminal has another size. */
  resize(size: Size): void;
  /** Sends a signal to the container's command. */
  kill(signal?: Signal | number): void;
  /** Has the container end in its own way (its image's stop signal). */
  stop(): void;
  /** Tells it of an event: what `resize`, `kill` and `stop` do. */
  tell(event: Event): void;
  /** Ends the machine at once, as a power cut does; {@link exited} gives 137. */
  destroy(): void;
}

/** What a container consists of. */
type Parts = Pick<Container, 'stdin' | 'stdout' | 'stderr' | 'exited' | 'tell' | 'destroy'>;

/** A container with its conveniences, wherever it runs. */
export function container(parts: Parts): Container {
  const { tell } = parts;
  return {
    ...parts,
    resize: ({ rows, cols }) => tell({ kind: 'resize', rows, cols }),
    kill: (signal = 'SIGTERM') =>
      tell({ kind: 'signal', number: typeof signal === 'number' ? signal : SIGNALS[signal] }),
    stop: () => tell({ kind: 'stop' }),
  };
}

/** Starts a container. */
export async function run(options: RunOptions): Promise<Container> {
  const directories = preopens(options.directories ?? {});
  const { tty = false } = options;
  const terminal = tty === true ? { rows: 24, cols: 80 } : tty === false ? null : tty;
  let runner: Runner | null = null;
  const wake = () => runner?.wake();
  const image = await load(options.image, options, wake);
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
  waiter?.start(machine.main);
  const running = waiter ?? new Driver(machine);
  runner = running;
  const over = () => {
    stdout.end();
    stderr.end();
    link?.close();
    image.root?.close();
  };
  running.ended.then(over, over);
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
