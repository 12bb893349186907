/**
 * Runs a container in a worker of its own, so that the page's own work never waits for it:
 *
 * ```ts
 * import { run } from 'forelift/worker';
 * ```
 *
 * is {@link "index".run} in all but that; its directories are {@link RemoteDirectory}. The worker ends with
 * the container, or when that is destroyed, if there are directories to be read.
 *
 * @module
 */

import { pack, take } from './carry.js';
import { FetchError, tell as informed } from './fetch.js';
import { PortError } from './gateway.js';
import { ImageError, absolute, answer } from './image.js';
import { copied } from './pipe.js';
import { Pulled } from './pulled.js';
import { RelayError } from './link.js';
import { FileError } from './errors.js';
import { container, type Container } from './container.js';
import type { RunOptions as OwnOptions } from './start.js';
import type { Command, OutputName, Report, WorkerOptions } from './messages.js';
import { RemoteDirectory, type Answer, type Method } from './remote.js';
import { Watch } from './watch.js';

export {
  FetchError,
  FileError,
  ImageError,
  PortError,
  RelayError,
  type Container,
  type Entry,
  type Event,
  type Image,
  type Progress,
  type Signal,
  type Size,
  type Stat,
} from './index.js';
export { RemoteDirectory } from './remote.js';

/** A directory at a guest path: alone, or with how it is mounted. */
export type RemoteMount = RemoteDirectory | { directory: RemoteDirectory; readOnly: boolean };

/** What {@link run} runs. */
export type RunOptions = Omit<OwnOptions, 'directories' | 'fetch'> & {
  /** Directories in memory by their paths in the container, at most 8. None by default. */
  directories?: Readonly<Record<string, RemoteMount>>;
};

/** A worker that ends although its container has not: the browser has ended it, or cannot run it. */
export class WorkerError extends Error {
  override name = 'WorkerError';
}

const ERRORS: Record<string, new (message: string) => Error> = { FetchError, ImageError, RangeError, RelayError };

/** The directories, and whether they are mounted read-only. */
function mounts(options: RunOptions): [string, RemoteDirectory, boolean][] {
  return Object.entries(options.directories ?? {}).map(([path, mount]) =>
    mount instanceof RemoteDirectory ? [path, mount, false] : [path, mount.directory, mount.readOnly],
  );
}

/** Options in the form in which they are sent. */
async function sendable(options: RunOptions): Promise<WorkerOptions> {
  const { image, onProgress, onTrouble, directories, signal, ...plain } = options;
  const readOnly = mounts(options).map(([path, , readOnly]) => [path, readOnly] as const);
  const rest = { ...plain, directories: Object.fromEntries(readOnly) };
  // A relative address is the page's.
  if (typeof image === 'string' || image instanceof URL) return { ...rest, image: absolute(image).href };
  if (image instanceof Response || image instanceof Promise) {
    return { ...rest, image: await (await answer(image)).arrayBuffer() };
  }
  return { ...rest, image };
}

/**
 * A worker for one container.
 *
 * @internal
 */
export function create(): Worker {
  // Bundlers know a worker by this form.
  return new Worker(new URL('./worker_main.js', import.meta.url), { type: 'module' });
}

/** Starts a container in a worker. */
export function run(options: RunOptions): Promise<Container> {
  return runIn(options, create);
}

/**
 * The same in a worker that may be there already.
 *
 * @internal
 */
export async function runIn(options: RunOptions, create: () => Worker): Promise<Container> {
  try {
    options.signal?.throwIfAborted();
    const sent = await sendable(options);
    options.signal?.throwIfAborted();
    return await start(options, sent, create());
  } catch (error) {
    // Who waits for an answer of its directories has it.
    mounts(options).forEach(([, directory]) => directory.close());
    throw error;
  }
}

async function start(options: RunOptions, sent: WorkerOptions, worker: Worker): Promise<Container> {
  const tell = (command: Command) => worker.postMessage(command);
  const silent = "the container's worker does not answer: start the container anew, or reload the page";
  const watch = new Watch(
    () => tell({ kind: 'ping' }),
    (isSilent) => informed(options.onTrouble, isSilent ? new WorkerError(silent) : null),
  );
  let taken: (() => void) | null = null;
  let isUp = false;
  let over = false;
  const output = (name: OutputName) => new Pulled((kind) => tell({ kind, name }));
  const outputs = { stdout: output('stdout'), stderr: output('stderr') };

  const asked = new Map<number, (answer: Answer) => void>();
  let number = 0;
  const directories = mounts(options);
  const attach = (path: string, directory: RemoteDirectory) =>
    directory.attach(async (method: Method, args: unknown[]) => {
      if (over) throw new WorkerError('the container is gone, and its directories with it');
      const id = number++;
      // Until then it may be on its way.
      if (isUp) watch.expect();
      tell({ kind: 'ask', question: { id, path, method, args } });
      const answer = await new Promise<Answer>((resolve) => asked.set(id, resolve));
      if ('value' in answer) return answer.value;
      const { error, message } = answer;
      throw error === null ? new WorkerError(message) : Object.assign(new FileError(error), { message });
    });

  let started: () => void = () => undefined;
  let failed: (error: Error) => void = () => undefined;
  let ended: (status: number) => void = () => undefined;
  const begun = new Promise<void>((resolve, reject) => {
    started = resolve;
    failed = reject;
  });
  const exited = new Promise<number>((resolve, reject) => {
    ended = resolve;
    const before = failed;
    failed = (error) => {
      before(error);
      reject(error);
    };
  });
  // Who awaits the start only has been told.
  exited.catch(() => undefined);

  let leave: (error: Error) => void = () => undefined;
  const gone = new Promise<never>((_, reject) => (leave = reject));
  gone.catch(() => undefined);

  /** The worker's end. */
  const finish = () => {
    over = true;
    watch.end();
    leave(new PortError('the container is gone'));
    worker.terminate();
    const answer = { error: null, message: 'the container is gone, and its directories with it' };
    asked.forEach((resolve, id) => resolve({ id, ...answer }));
    asked.clear();
    Object.values(outputs).forEach((one) => one.deliver(null));
    taken?.();
  };
  const crash = (error: Error) => {
    failed(error);
    finish();
  };
  worker.onerror = (event) => {
    // Deno ends its program otherwise.
    event.preventDefault();
    const why = event.message || 'the browser does not say why';
    crash(new WorkerError(`the container's worker has failed (${why}): start the container anew, or reload the page`));
  };
  worker.onmessage = ({ data: report }: MessageEvent<Report>) => {
    watch.heard();
    switch (report.kind) {
      case 'pong':
        return;
      case 'progress':
        return informed(options.onProgress, report.progress);
      case 'trouble':
        return informed(options.onTrouble, report.message === null ? null : new FetchError(report.message));
      case 'started':
        isUp = true;
        return started();
      case 'taken':
        return taken?.();
      case 'output':
        return outputs[report.name].deliver(report.bytes);
      case 'ended':
        return ended(report.status);
      case 'closed':
        if (directories.length === 0) finish();
        return;
      case 'answer':
        asked.get(report.answer.id)?.(report.answer);
        asked.delete(report.answer.id);
        return;
      case 'changed':
        return directories.find(([path]) => path === report.path)?.[1].onchange?.();
      case 'failed':
        return crash(new (ERRORS[report.name] ?? WorkerError)(report.message));
    }
  };
  const abort = () => {
    ended(137);
    crash(options.signal?.reason as Error);
  };
  try {
    directories.forEach(([path, directory]) => attach(path, directory));
    tell({ kind: 'run', options: sent });
  } catch (error) {
    finish();
    throw error;
  }
  options.signal?.addEventListener('abort', abort, { once: true });
  await begun;
  const stdin = new WritableStream<Uint8Array>({
    write: (chunk) => {
      const bytes = copied(chunk);
      if (over) return undefined;
      watch.expect();
      worker.postMessage({ kind: 'input', bytes } satisfies Command, [bytes.buffer]);
      return new Promise((resolve) => (taken = resolve));
    },
    close: () => tell({ kind: 'end' }),
    abort: () => tell({ kind: 'end' }),
  });
  return container({
    stdin,
    stdout: outputs.stdout.stream,
    stderr: outputs.stderr.stream,
    exited,
    tell: (event) => {
      watch.expect();
      tell({ kind: 'event', event });
    },
    destroy: () => {
      ended(137);
      finish();
    },
    request: async (port, request) => {
      const sent = await pack(request);
      if (over) throw new PortError('the container is gone');
      watch.expect();
      const { port1, port2 } = new MessageChannel();
      worker.postMessage({ kind: 'request', port, request: sent, back: port2 } satisfies Command, [port2]);
      return Promise.race([take(port1, (why) => new PortError(why)), gone]);
    },
  });
}
