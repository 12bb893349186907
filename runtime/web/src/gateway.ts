/**
 * A container's network where there is no relay: its connections end in this thread, in a module of
 * WebAssembly (`runtime/gateway`), as requests of HTTP, which `fetch` makes; and requests are made of its
 * ports.
 *
 * @module
 */

import { WITHOUT_BODY } from './carry.js';
import { Fetcher, text } from './fetch.js';
import { compileResponse } from './image.js';
import type { Link } from './preview1.js';
import { Preview1 } from './preview1.js';
import { Output } from './pipe.js';
import { Pulled } from './pulled.js';

/** A port of a container's that gives no answer. */
export class PortError extends Error {
  override name = 'PortError';
}

/** Makes a request, as `fetch` does. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** What the module exports (`runtime/gateway/src/exports.rs`). */
interface Exports {
  memory: WebAssembly.Memory;
  _initialize?(): void;
  gateway_buffer(length: number): number;
  gateway_start(outbound: number): number;
  gateway_send(): number;
  gateway_receive(most: number): number;
  gateway_pending(): number;
  gateway_run(now: bigint): bigint;
  gateway_tell(kind: number, id: number, port: number, now: bigint): void;
  gateway_event(): bigint;
}

/** The kinds of what is told to the module, and of what it tells. */
const Tell = {
  FETCHED: 0,
  FETCHED_BODY: 1,
  FETCHED_END: 2,
  FETCH_FAILED: 3,
  REQUEST: 4,
  REQUEST_BODY: 5,
  REQUEST_END: 6,
  PULL: 7,
  CANCEL: 8,
} as const;
const Told = {
  FETCH: 0,
  FETCH_BODY: 1,
  FETCH_END: 2,
  PULL: 3,
  CANCEL: 4,
  ANSWER: 5,
  ANSWER_BODY: 6,
  ANSWER_END: 7,
  ANSWER_FAILED: 8,
} as const;

/** The longest timer that there is. */
const LONGEST = 0x7fffffff;
const NOTHING = new Uint8Array();

/** A request of the container's. */
interface Outgoing {
  head: Uint8Array;
  body: Uint8Array<ArrayBuffer>[];
  stop: AbortController;
  reader: ReadableStreamDefaultReader<Uint8Array> | null;
}

/** A request to the container. */
interface Incoming {
  answer: (response: Response) => void;
  fail: (error: Error) => void;
  body: Pulled;
  method: string;
}

/** A link whose other end is here. */
export class GatewayLink implements Link {
  /** Called when there is something new for the container. */
  wake: () => void = () => undefined;
  /** What the container has to trust, in PEM. */
  readonly certificate: string;
  private readonly outgoing = new Map<number, Outgoing>();
  private readonly incoming = new Map<number, Incoming>();
  private next = 0;
  private timer: ReturnType<typeof setTimeout> | null = null;
  private isDue = false;
  private over = false;

  private constructor(
    private readonly module: Exports,
    private readonly fetch: Fetch | null,
  ) {
    const length = module.gateway_start(fetch === null ? 0 : 1);
    if (length === 0) throw new Error('the gateway of the network cannot start');
    this.certificate = new TextDecoder().decode(this.buffer(length));
  }

  /** Loads the module. Without `fetch` the container reaches nothing, but it can be reached. */
  static async open(fetch: Fetch | null): Promise<GatewayLink> {
    const module = await program();
    const nobody = new Output(() => undefined);
    const wasi = new Preview1({
      args: [],
      env: {},
      stdin: null,
      stdout: nobody,
      stderr: nobody,
      link: null,
      root: null,
      terminal: null,
      directories: [],
    });
    const imports = { wasi_snapshot_preview1: wasi.imports(module) };
    const exports = (await WebAssembly.instantiate(module, imports)).exports as unknown as Exports;
    wasi.memory = exports.memory;
    exports._initialize?.();
    return new GatewayLink(exports, fetch);
  }

  read(into: Uint8Array): number {
    if (this.over) return 0;
    const length = this.module.gateway_receive(into.length);
    if (length === 0) return -1;
    into.set(this.buffer(length));
    this.soon();
    return length;
  }

  write(from: Uint8Array): number {
    if (this.over) return -1;
    this.put(from);
    const taken = this.module.gateway_send();
    this.soon();
    return taken;
  }

  /** Makes a request to a port of the container's. */
  async request(port: number, request: Request): Promise<Response> {
    const { method, headers, url } = request;
    if (!Number.isInteger(port) || port < 1 || port > 65535) throw new RangeError(`there is no port ${port}`);
    const sent = new Uint8Array(await request.arrayBuffer());
    if (this.over) throw new PortError('the container is gone');
    const { pathname, search } = new URL(url);
    const id = this.next++;
    const body = new Pulled((what) => {
      if (what === 'cancel') this.incoming.delete(id);
      this.tell(what === 'pull' ? Tell.PULL : Tell.CANCEL, id);
    });
    const response = new Promise<Response>((answer, fail) => {
      this.incoming.set(id, { answer, fail, body, method });
    });
    this.tell(Tell.REQUEST, id, latin(`${method}\n${pathname}${search}\n${lines(headers)}`), port);
    if (sent.length > 0) this.tell(Tell.REQUEST_BODY, id, sent);
    this.tell(Tell.REQUEST_END, id);
    return response;
  }

  /** Ends the link, and all requests with it. */
  close(): void {
    if (this.over) return;
    this.over = true;
    if (this.timer !== null) clearTimeout(this.timer);
    this.outgoing.forEach((request) => cancel(request));
    this.incoming.forEach((_, id) => this.fail(id, new PortError('the container is gone')));
    this.wake();
  }

  private now(): bigint {
    return BigInt(Math.floor(performance.now() * 1000));
  }

  private buffer(length: number): Uint8Array {
    // The memory may grow for it, and is another object then.
    const at = this.module.gateway_buffer(length) >>> 0;
    return new Uint8Array(this.module.memory.buffer, at, length);
  }

  private put(bytes: Uint8Array): void {
    this.buffer(bytes.length).set(bytes);
  }

  private tell(kind: number, id: number, bytes: Uint8Array = NOTHING, port = 0): void {
    if (this.over) return;
    this.put(bytes);
    this.module.gateway_tell(kind, id, port, this.now());
    this.soon();
  }

  /** Has the gateway work, once this turn of the event loop is over. */
  private soon(): void {
    if (this.isDue || this.over) return;
    this.isDue = true;
    queueMicrotask(() => {
      this.isDue = false;
      if (!this.over) this.run();
    });
  }

  private run(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    let next;
    try {
      next = this.module.gateway_run(this.now());
      for (let event = this.module.gateway_event(); event >= 0n; event = this.module.gateway_event()) {
        const length = Number((event >> 32n) & 0xffffffn);
        this.obey(Number(event >> 56n), Number(event & 0xffffffffn), this.buffer(length).slice());
      }
    } catch (error) {
      // A fault of the gateway's: the container goes on without a network.
      console.error(error);
      next = -2n;
    }
    if (next === -2n) return this.close();
    if (this.module.gateway_pending() > 0) this.wake();
    if (next < 0n || this.over) return;
    const ms = Number(next - this.now()) / 1000;
    this.timer = setTimeout(() => this.run(), Math.min(LONGEST, Math.max(0, Math.ceil(ms))));
    // A process of Node's need not wait for the network's timers.
    (this.timer as { unref?: () => void }).unref?.();
  }

  private obey(kind: number, id: number, bytes: Uint8Array<ArrayBuffer>): void {
    switch (kind) {
      case Told.FETCH:
        this.outgoing.set(id, { head: bytes, body: [], stop: new AbortController(), reader: null });
        return;
      case Told.FETCH_BODY:
        this.outgoing.get(id)?.body.push(bytes);
        return;
      case Told.FETCH_END:
        void this.perform(id);
        return;
      case Told.PULL:
        void this.pass(id);
        return;
      case Told.CANCEL: {
        const request = this.outgoing.get(id);
        this.outgoing.delete(id);
        if (request !== undefined) cancel(request);
        return;
      }
      case Told.ANSWER:
        return this.answer(id, bytes);
      case Told.ANSWER_BODY:
        this.incoming.get(id)?.body.deliver(bytes);
        return;
      case Told.ANSWER_END: {
        const request = this.incoming.get(id);
        this.incoming.delete(id);
        request?.body.deliver(null);
        return;
      }
      case Told.ANSWER_FAILED:
        return this.fail(id, new PortError(new TextDecoder().decode(bytes)));
    }
  }

  /** Makes a request of the container's. */
  private async perform(id: number): Promise<void> {
    const request = this.outgoing.get(id);
    if (request === undefined || this.fetch === null) return;
    const [method = '', address = '', ...fields] = string(request.head).split('\n');
    const body = request.body.length === 0 ? null : new Blob(request.body);
    try {
      const response = await this.fetch(secured(address), {
        method,
        body,
        headers: headers(fields),
        signal: request.stop.signal,
        cache: 'no-store',
        credentials: 'omit',
        referrerPolicy: 'no-referrer',
      });
      request.reader = response.body?.getReader() ?? null;
      this.tell(Tell.FETCHED, id, latin(`${response.status}\n${lines(response.headers)}`));
    } catch (error) {
      this.outgoing.delete(id);
      const why = `the page cannot fetch it (${text(error)}): the server is not there, or does not let pages of`;
      this.tell(Tell.FETCH_FAILED, id, new TextEncoder().encode(`${why} other sites read it (CORS)`));
    }
  }

  /** Passes on the next piece of a response. */
  private async pass(id: number): Promise<void> {
    const request = this.outgoing.get(id);
    if (request === undefined) return;
    try {
      const part = await request.reader?.read();
      if (part?.value !== undefined) return this.tell(Tell.FETCHED_BODY, id, part.value);
      this.tell(Tell.FETCHED_END, id);
    } catch (error) {
      this.tell(Tell.FETCH_FAILED, id, new TextEncoder().encode(text(error)));
    }
    this.outgoing.delete(id);
  }

  private answer(id: number, head: Uint8Array): void {
    const request = this.incoming.get(id);
    if (request === undefined) return;
    const [line = '', ...fields] = string(head).split('\n');
    const status = Number(line);
    const isEmpty = WITHOUT_BODY.has(status) || request.method === 'HEAD';
    try {
      request.answer(new Response(isEmpty ? null : request.body.stream, { status, headers: headers(fields) }));
    } catch (error) {
      this.fail(id, new PortError(text(error)));
    }
    // The end of what is empty is read here.
    if (isEmpty) this.tell(Tell.PULL, id);
  }

  private fail(id: number, error: Error): void {
    const request = this.incoming.get(id);
    this.incoming.delete(id);
    request?.fail(error);
    request?.body.fail(error);
  }
}

function cancel({ stop, reader }: Outgoing): void {
  stop.abort();
  reader?.cancel().catch(() => undefined);
}

/** The module beside this one: from the network, or from Node's own disk, from which that does not fetch. */
async function program(): Promise<WebAssembly.Module> {
  const url = new URL('./gateway.wasm', import.meta.url);
  if (url.protocol !== 'file:') return new Fetcher(url, await Fetcher.cache()).code('gateway.wasm', compileResponse);
  // Bundlers for pages need not know of it.
  const node = 'node:fs/promises';
  const { readFile } = (await import(node)) as typeof import('node:fs/promises');
  return WebAssembly.compile(new Uint8Array(await readFile(url)));
}

/** A page of https: may fetch nothing by http: but from its own machine. */
function secured(address: string): string {
  const isOfPage = globalThis.location?.protocol === 'https:';
  const isNear = /^http:\/\/(localhost|127\.\d+\.\d+\.\d+|\[::1\])([:/]|$)/.test(address);
  return isOfPage && !isNear ? address.replace(/^http:/, 'https:') : address;
}

/** Fields as lines. */
function lines(headers: Headers): string {
  return [...headers].map(([name, value]) => `${name}: ${value}\n`).join('');
}

/** Fields of lines, without what browsers do not take. */
function headers(lines: readonly string[]): Headers {
  const all = new Headers();
  for (const line of lines) {
    const colon = line.indexOf(':');
    try {
      if (colon > 0) all.append(line.slice(0, colon), line.slice(colon + 1).trim());
    } catch {
      // No name that fields have.
    }
  }
  return all;
}

/** Bytes of a text whose characters are bytes, and back. */
const latin = (all: string) => Uint8Array.from(all, (char) => char.charCodeAt(0));
const string = (bytes: Uint8Array) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join('');
