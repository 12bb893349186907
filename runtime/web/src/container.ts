/**
 * A container that runs, wherever it does.
 *
 * @module
 */

import type { Event } from './abi.js';

/** The size of a terminal. */
export interface Size {
  rows: number;
  cols: number;
}

/** The name of a signal. */
export type Signal =
  | 'SIGHUP'
  | 'SIGINT'
  | 'SIGQUIT'
  | 'SIGKILL'
  | 'SIGUSR1'
  | 'SIGUSR2'
  | 'SIGTERM'
  | 'SIGCONT'
  | 'SIGTSTP'
  | 'SIGWINCH';

/** Linux's numbers of the signals that are sent from outside. */
const SIGNALS: Record<Signal, number> = {
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
};

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
  /**
   * Makes a request to a port of the container's: `fetch(8080, '/path', { method: 'POST', body })`. Of an
   * address only the path counts. Fails with a `PortError` where nothing listens.
   */
  fetch(port: number, input: string | URL | Request, init?: RequestInit): Promise<Response>;
  /** Ends the machine at once, as a power cut does; {@link exited} gives 137. */
  destroy(): void;
}

/** What a container consists of. */
type Parts = Pick<Container, 'stdin' | 'stdout' | 'stderr' | 'exited' | 'tell' | 'destroy'> & {
  /** Makes a request to a port. */
  request: (port: number, request: Request) => Promise<Response>;
};

/** A container with its conveniences, wherever it runs. */
export function container({ request, ...parts }: Parts): Container {
  const { tell } = parts;
  return {
    ...parts,
    fetch: async (port, input, init) => {
      const target = input instanceof Request ? input : new URL(input, 'http://localhost/');
      return request(port, new Request(target, init));
    },
    resize: ({ rows, cols }) => tell({ kind: 'resize', rows, cols }),
    kill: (signal = 'SIGTERM') =>
      tell({ kind: 'signal', number: typeof signal === 'number' ? signal : SIGNALS[signal] }),
    stop: () => tell({ kind: 'stop' }),
  };
}
