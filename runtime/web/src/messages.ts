/**
 * What a page and the worker that runs its container say to each other.
 *
 * @module
 */

import type { Event } from './abi.js';
import type { Sent } from './carry.js';
import type { Progress } from './fetch.js';
import type { RunOptions } from './start.js';
import type { Answer, Question } from './remote.js';

/** An output of a container. */
export type OutputName = 'stdout' | 'stderr';

/** Options that can be sent. */
export type WorkerOptions = Omit<RunOptions, 'onProgress' | 'onTrouble' | 'image' | 'directories' | 'signal' | 'fetch'> & {
  image: string | BufferSource | WebAssembly.Module;
  /** Paths of directories to make, and whether they are mounted read-only. */
  directories: Record<string, boolean>;
};

/** To the worker. */
export type Command =
  /** Loads an image that will be run. */
  | { kind: 'load'; image: string }
  | { kind: 'run'; options: WorkerOptions }
  /** Standard input; answered by `taken`. */
  | { kind: 'input'; bytes: Uint8Array }
  | { kind: 'end' }
  /** Somebody reads: answered by one `output`. The rest comes by itself when the container has ended. */
  | { kind: 'pull'; name: OutputName }
  | { kind: 'cancel'; name: OutputName }
  | { kind: 'event'; event: Event }
  /** Answered by one `answer`. */
  | { kind: 'ask'; question: Question }
  /** A request to a port of the container's, answered on `back`. */
  | { kind: 'request'; port: number; request: Sent; back: MessagePort }
  | { kind: 'destroy' }
  /** Answered by `pong` at once. */
  | { kind: 'ping' };

/** To the page. */
export type Report =
  | { kind: 'progress'; progress: Progress }
  | { kind: 'trouble'; message: string | null }
  | { kind: 'started' }
  | { kind: 'taken' }
  | { kind: 'pong' }
  /** `null`: there is no more. */
  | { kind: 'output'; name: OutputName; bytes: Uint8Array | null }
  | { kind: 'answer'; answer: Answer }
  /** A container has changed something in the directory of that path. */
  | { kind: 'changed'; path: string }
  | { kind: 'ended'; status: number }
  /** All has been said. */
  | { kind: 'closed' }
  /** It has not started, or its machine has failed. */
  | { kind: 'failed'; name: string; message: string };
