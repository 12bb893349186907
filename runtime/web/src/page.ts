/**
 * The page of `forelift convert --web`: loads the image beside it and shows the container in a terminal.
 *
 * @module
 */

import './styles.js';
import { FitAddon } from '@xterm/addon-fit';
import { Terminal } from '@xterm/xterm';
import { FetchError, Fetcher, text, type Progress } from './fetch.js';
import { manifest } from './image.js';
import { MOUNTED, Panel } from './panel.js';
import { serve } from './ports.js';
import { RemoteDirectory, create, runIn, type Container, type RunOptions } from './worker.js';
import { words } from './words.js';

/** What the page does now, told by `data-state` of the body. */
type State = 'loading' | 'running' | 'ended' | 'failed';

const IMAGE = new URL('image.json', document.baseURI);

function element<T extends HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no #${id}`);
  return found as T;
}

const [note, message, amount] = ['note', 'message', 'amount'].map((id) => element(id)) as [
  HTMLElement,
  HTMLElement,
  HTMLElement,
];
const progress = element<HTMLProgressElement>('progress');

function show(state: State, said = ''): void {
  document.body.dataset['state'] = state;
  message.textContent = said;
}

function remark(text: string, isBad = false): void {
  note.textContent = text;
  note.classList.toggle('bad', isBad);
}

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;

function advance({ loaded, total }: Progress): void {
  progress.value = loaded / Math.max(1, total);
  amount.textContent = `${megabytes(loaded)} of ${megabytes(total)}`;
}

const terminal = new Terminal({
  fontFamily: 'ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace',
  fontSize: 14,
  scrollback: 10_000,
  theme: { background: '#1b1d22' },
});
const fit = new FitAddon();
terminal.loadAddon(fit);
terminal.open(element('terminal'));
fit.fit();

const panel = new Panel(element('list'), element<HTMLInputElement>('add'), element('main'), remark);
element('files').onclick = () => {
  const isHidden = element('panel').toggleAttribute('hidden');
  element('files').setAttribute('aria-expanded', String(!isHidden));
  panel.refresh();
};

/** What is run, and how often something was. */
let container: Container | null = null;
let starting = new AbortController();
let input: WritableStreamDefaultWriter<Uint8Array> | null = null;
let runs = 0;
/** Ports of the container, once they are served. */
let serving: Promise<void> | null = null;

/** The worker that loads the image since the page's beginning (page/load.js), until it has a container. */
const begun = globalThis as { foreliftWorker?: Worker | undefined };
const worker = () => {
  const taken = begun.foreliftWorker ?? create();
  begun.foreliftWorker = undefined;
  return taken;
};

/** What is asked for beyond what the image says; `null`: nothing. */
interface Wish {
  args: string[] | null;
  env: Record<string, string>;
  net: string | null;
}

const encoder = new TextEncoder();
function type(keys: string): void {
  input?.write(encoder.encode(keys)).catch(() => undefined);
}

/** What the page's address asks for: command, environment, network. */
function asked(query: URLSearchParams): Wish {
  const cmd = query.get('cmd');
  const env: Record<string, string> = {};
  for (const setting of query.getAll('env')) {
    const at = setting.indexOf('=');
    if (at > 0) env[setting.slice(0, at)] = setting.slice(at + 1);
  }
  return { args: cmd === null ? null : words(cmd), env, net: query.get('net') };
}

/** Puts something on the screen; when it is there. */
function write(data: string | Uint8Array): Promise<void> {
  return new Promise((resolve) => terminal.write(data, resolve));
}

/** Shows what comes on an output, as fast as the terminal takes it, after `change`. */
async function display(
  output: ReadableStream<Uint8Array>,
  isCurrent: () => boolean,
  change: (bytes: Uint8Array) => string | Uint8Array = (bytes) => bytes,
): Promise<void> {
  const reader = output.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    if (!isCurrent()) return;
    await write(change(part.value));
  }
}

/** For what Forelift says, which knows of no terminal. */
function lines(): (bytes: Uint8Array) => string {
  const decoder = new TextDecoder();
  return (bytes) => decoder.decode(bytes, { stream: true }).replaceAll('\n', '\r\n');
}

/** Has the page open without a network the next time, where pages can. */
async function keep(files: readonly string[]): Promise<void> {
  if (!('serviceWorker' in navigator)) return;
  try {
    await navigator.serviceWorker.register(new URL('sw.js', IMAGE));
    await Fetcher.keepPage(IMAGE, files);
    document.body.dataset['kept'] = 'yes';
  } catch {
    // A private window, no room: it opens with a network only.
  }
}

async function start(): Promise<void> {
  const number = ++runs;
  const isCurrent = () => number === runs;
  starting.abort(new Error('the page runs another container'));
  starting = new AbortController();
  container?.destroy();
  [container, input] = [null, null];
  panel.show(null);
  // What the one before has written is out of the way first.
  await write('');
  if (!isCurrent()) return;
  terminal.reset();
  remark('');
  progress.removeAttribute('value');
  amount.textContent = '';
  show('loading', 'Loading');
  try {
    const { page, files: names } = await manifest(IMAGE);
    // The document may be of an earlier version of the directory.
    document.title = element('title').textContent = page.title;
    const wish = page.fixed ? { args: null, env: {}, net: null } : asked(new URLSearchParams(location.search));
    if (wish.net === 'fetch' && page.net !== 'fetch') {
      throw new Error('net=fetch: this page was made without it (forelift convert --web-net fetch)');
    }
    // What leads nowhere reaches the ports, too.
    const net = wish.net ?? page.net;
    const ports = net === null && page.ports.length > 0;
    const files = new RemoteDirectory();
    const options: RunOptions = {
      directories: { [MOUNTED]: files },
      signal: starting.signal,
      image: IMAGE,
      args: wish.args ?? page.args,
      ...(net === null ? { ports } : { net }),
      env: { TERM: 'xterm-256color', ...wish.env },
      tty: { rows: terminal.rows, cols: terminal.cols },
      onProgress: (now) => isCurrent() && advance(now),
      onTrouble: (error) => {
        const more = error instanceof FetchError ? ' (trying again)' : '';
        if (isCurrent()) remark(error === null ? '' : `${error.message}${more}`, true);
      },
    };
    const started = await runIn(options, worker);
    if (!isCurrent()) return started.destroy();
    [container, input] = [started, started.stdin.getWriter()];
    started.resize({ rows: terminal.rows, cols: terminal.cols });
    show('running');
    panel.show(files);
    terminal.focus();
    void keep(names).then(() => serving ??= serve(page.ports, element('ports'), () => container));
    const shown = [display(started.stdout, isCurrent), display(started.stderr, isCurrent, lines())];
    const status = await started.exited;
    await Promise.all(shown);
    if (!isCurrent()) return;
    input = null;
    show('ended');
    remark(`ended with status ${status}`, status !== 0);
  } catch (error) {
    // What it has loaded may be what is wrong.
    begun.foreliftWorker?.terminate();
    begun.foreliftWorker = undefined;
    if (!isCurrent()) return;
    console.error(error);
    show('failed', text(error));
  }
}

const ctrl = element('ctrl');
const isHeld = () => ctrl.getAttribute('aria-pressed') === 'true';
const hold = (held: boolean) => ctrl.setAttribute('aria-pressed', String(held));

terminal.onData((data) => {
  // The key bar's Ctrl holds for one key.
  const code = data.toUpperCase().charCodeAt(0);
  const isControl = isHeld() && data.length === 1 && code >= 0x40 && code < 0x60;
  hold(false);
  type(isControl ? String.fromCharCode(code & 0x1f) : data);
});
terminal.onBinary((data) => void input?.write(Uint8Array.from(data, (c) => c.charCodeAt(0))).catch(() => undefined));
terminal.onResize(({ rows, cols }) => container?.resize({ rows, cols }));
terminal.attachCustomKeyEventHandler((event) => {
  const isCopy = event.ctrlKey && !event.altKey && event.code === 'KeyC' && terminal.hasSelection();
  if (isCopy && event.type === 'keydown') {
    event.preventDefault();
    navigator.clipboard?.writeText(terminal.getSelection()).catch(() => document.execCommand('copy'));
    terminal.clearSelection();
  }
  return !isCopy;
});
new ResizeObserver(() => fit.fit()).observe(element('terminal'));

for (const button of document.querySelectorAll<HTMLElement>('#keys [data-key]')) {
  button.onclick = () => {
    type(button.dataset['key'] ?? '');
    terminal.focus();
  };
}
ctrl.onclick = () => {
  hold(!isHeld());
  terminal.focus();
};
element('reset').onclick = () => void start();
element('again').onclick = () => void start();

/** For who looks from the browser's console. */
Object.assign(globalThis, { forelift: { terminal, container: () => container } });

void start();
