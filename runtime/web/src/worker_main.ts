/**
 * What runs in the worker of {@link "worker"}: one container.
 *
 * @module
 */

import { give, unpack } from './carry.js';
import type { Progress } from './fetch.js';
import type { Container } from './container.js';
import { Directory } from './files.js';
import { load, type Image, type Loaded } from './image.js';
import type { Command, OutputName, Report } from './messages.js';
import { answer } from './remote.js';
import { start as startLoaded, Waker } from './start.js';

/** The worker's own side, of the few things that are used. */
interface Scope {
  postMessage(report: Report, transfer?: Transferable[]): void;
  onmessage: ((message: MessageEvent<Command>) => void) | null;
}
const scope = globalThis as unknown as Scope;

const say = (report: Report, transfer: Transferable[] = []) => scope.postMessage(report, transfer);

/** A container with the ends of its streams. */
interface Running {
  container: Container;
  input: WritableStreamDefaultWriter<Uint8Array>;
  outputs: Record<OutputName, ReadableStreamDefaultReader<Uint8Array>>;
}

/** The container's directories, by their paths. */
const directories: Record<string, Directory> = {};

/** An image on its way. */
class Loading {
  readonly waker = new Waker();
  readonly loaded: Promise<Loaded>;

  constructor(readonly image: Image) {
    const listeners = {
      onProgress: (progress: Progress) => say({ kind: 'progress', progress }),
      onTrouble: (error: Error | null) => say({ kind: 'trouble', message: error?.message ?? null }),
    };
    this.loaded = load(image, listeners, this.waker.wake);
    // Who runs it is told.
    this.loaded.catch(() => undefined);
  }
}
let early: Loading | null = null;

async function start({ options }: Extract<Command, { kind: 'run' }>): Promise<Running> {
  for (const path of Object.keys(options.directories)) {
    const directory = new Directory();
    directory.onchange = () => say({ kind: 'changed', path });
    directories[path] = directory;
  }
  const mounts = Object.entries(options.directories).map(([path, readOnly]) => {
    return [path, { directory: directories[path] as Directory, readOnly }] as const;
  });
  const { loaded, waker } = early?.image === options.image ? early : new Loading(options.image);
  const all = { ...options, directories: Object.fromEntries(mounts) };
  const container = await startLoaded(all, () => loaded, waker);
  const outputs = { stdout: container.stdout.getReader(), stderr: container.stderr.getReader() };
  void end(container, outputs);
  say({ kind: 'started' });
  return { container, input: container.stdin.getWriter(), outputs };
}

/** Tells how the container has ended, and what nobody has read yet. */
async function end(container: Container, outputs: Running['outputs']): Promise<void> {
  try {
    const status = await container.exited;
    say({ kind: 'ended', status });
  } catch (error) {
    return fail(error);
  }
  const rest = (Object.keys(outputs) as OutputName[]).map(async (name) => {
    while (await pass(outputs, name));
  });
  await Promise.all(rest);
  say({ kind: 'closed' });
}

function fail(error: unknown): void {
  const { name, message } = error instanceof Error ? error : new Error(String(error));
  say({ kind: 'failed', name, message });
}

/** Passes on what is read of an output; false at its end. */
async function pass(outputs: Running['outputs'], name: OutputName): Promise<boolean> {
  const { value } = await outputs[name].read();
  if (value === undefined) say({ kind: 'output', name, bytes: null });
  else say({ kind: 'output', name, bytes: value }, [value.buffer as ArrayBuffer]);
  return value !== undefined;
}

let running: Promise<Running> | null = null;

async function obey(command: Command): Promise<void> {
  if (command.kind === 'load') {
    early = new Loading(command.image);
    return;
  }
  if (command.kind === 'run') {
    running = start(command);
    running.catch(fail);
    return;
  }
  if (command.kind === 'ping') return say({ kind: 'pong' });
  if (command.kind === 'ask') return say({ kind: 'answer', answer: answer(directories, command.question) });
  const now = await running?.catch(() => null);
  if (now === null || now === undefined) return;
  if (command.kind === 'request') {
    return give(command.back, now.container.fetch(command.port, unpack(command.request)));
  }
  switch (command.kind) {
    case 'input':
      // A command that does not read any more is no error of the page's.
      await now.input.write(command.bytes).catch(() => undefined);
      return say({ kind: 'taken' });
    case 'end':
      return now.input.close().catch(() => undefined);
    case 'pull':
      await pass(now.outputs, command.name);
      return;
    case 'cancel':
      return now.outputs[command.name].cancel().catch(() => undefined);
    case 'event':
      return now.container.tell(command.event);
    case 'destroy':
      return now.container.destroy();
  }
}

scope.onmessage = ({ data }) => void obey(data);
