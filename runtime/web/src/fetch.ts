/**
 * Fetches the files of a directory of `forelift convert --web`. Their names are digests of their contents, so
 * what was fetched once is kept (in the Cache API, where there is one) and not fetched again.
 *
 * @module
 */

/** How much has been fetched, in bytes as they are stored. */
export interface Progress {
  loaded: number;
  total: number;
}

/** A file of an image that cannot be had. */
export class FetchError extends Error {
  override name = 'FetchError';
}

type Bytes = Uint8Array<ArrayBuffer>;

/**
 * Bytes that are uncompressed at once, which some engines do whether anybody reads or not: they become a
 * thousand times as many at most.
 */
const SLICE = 16 << 10;
/** Name of the cache. */
const CACHE = 'forelift';
/** What is kept of a page besides its image's files, which are named by its list: it may change. */
const PAGE = ['.', 'image.json'];
/** Names that only the files of a directory have, below its address. */
const NAMES = /^(data\/[0-9a-f]+\.bin|code-[0-9a-f]+\.wasm(\.\w+)?|app-[0-9a-f]+\/[^/]+)$/;

/** Tells somebody, whose errors are no errors here. */
export function tell<Args extends unknown[]>(listener: ((...args: Args) => void) | undefined, ...args: Args): void {
  try {
    listener?.(...args);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

/** The text of an error. */
export function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Fetches, with an error that names the address. */
export async function fetchFile(url: string, options: RequestInit = {}): Promise<Response> {
  let response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    throw new FetchError(`${url}: it cannot be fetched (${text(error)}): is the server there?`);
  }
  if (response.ok) return response;
  const why = `${response.status} ${response.statusText}`.trim();
  throw new FetchError(`${url}: ${why}: copy all of the directory to the server, and reload the page`);
}

/** See the module's documentation. */
export class Fetcher {
  /** Files are named relative to `base`. */
  constructor(
    private readonly base: URL,
    private readonly cache: Cache | null = null,
  ) {}

  /** The cache; `null` where pages have none (not on a secure origin, in some private windows). */
  static async cache(): Promise<Cache | null> {
    try {
      return await caches.open(CACHE);
    } catch {
      return null;
    }
  }

  /** Removes from the cache what an earlier version of the directory of `base` has left: all but `files`. */
  async clean(files: readonly string[]): Promise<void> {
    const wanted = new Set(files.map((file) => new URL(file, this.base).href));
    const own = new URL('.', this.base).href;
    for (const { url } of (await this.cache?.keys()) ?? []) {
      // Another directory may lie below this one.
      const isOurs = url.startsWith(own) && NAMES.test(url.slice(own.length));
      if (isOurs && !wanted.has(url)) await this.cache?.delete(url);
    }
  }

  /**
   * Keeps what a page needs to open without a network: itself, and its programs, which are among `files`. Its
   * service worker serves them.
   */
  static async keepPage(base: URL, files: readonly string[]): Promise<void> {
    const cache = await caches.open(CACHE);
    // The network's module is kept when it is used.
    const programs = files.filter((file) => file.startsWith('app-') && !file.endsWith('.wasm'));
    const missing: string[] = [...PAGE];
    for (const program of programs) {
      if ((await cache.match(new URL(program, base).href)) === undefined) missing.push(program);
    }
    await cache.addAll(missing.map((file) => new URL(file, base).href));
  }

  /**
   * Fetches a module and compiles it as it comes: from the network, whose copy an engine keeps compiled; what
   * is kept here is for when there is none.
   */
  async code(file: string, compile: (response: Response) => Promise<WebAssembly.Module>): Promise<WebAssembly.Module> {
    const url = new URL(file, this.base).href;
    const attempt = async (mode: RequestCache) => {
      const response = await fetchFile(url, { cache: mode });
      const copy = response.clone();
      let module;
      try {
        module = await compile(response);
      } catch (error) {
        const bytes = await copy.arrayBuffer().catch(() => new ArrayBuffer());
        throw isPage(new Uint8Array(bytes)) ? replaced(url) : damaged(url, error);
      }
      this.keep(url, copy);
      return module;
    };
    try {
      return await this.twice(attempt);
    } catch (error) {
      const kept = await this.kept(url);
      if (kept === undefined) throw error;
      return compile(kept);
    }
  }

  /** A file as it is, which may have changed since the last time. */
  async plain(url: string): Promise<Uint8Array> {
    try {
      const response = await fetchFile(url, { cache: 'no-cache' });
      const bytes = new Uint8Array(await response.arrayBuffer());
      if (isPage(bytes)) throw replaced(url);
      return bytes;
    } catch (error) {
      const kept = await this.kept(url);
      if (kept === undefined) throw damaged(url, error);
      return new Uint8Array(await kept.arrayBuffer());
    }
  }

  /**
   * A compressed file, uncompressed, which is `most` bytes at most; `advance` is told the bytes that have
   * come, as they are stored.
   */
  async unzipped(file: string, most: number, advance: (bytes: number) => void = () => undefined): Promise<Uint8Array> {
    const url = new URL(file, this.base).href;
    const kept = await this.kept(url);
    if (kept !== undefined) {
      try {
        return (await unzip(url, kept, most, advance)).plain;
      } catch {
        await this.cache?.delete(url);
      }
    }
    return this.twice(async (mode) => {
      const { zipped, plain } = await unzip(url, await fetchFile(url, { cache: mode }), most, advance);
      this.keep(url, new Response(zipped));
      return plain;
    });
  }

  /** What failed may have come from the browser's own cache: once more, past that. */
  private async twice<Value>(attempt: (mode: RequestCache) => Promise<Value>): Promise<Value> {
    try {
      return await attempt('default');
    } catch {
      return attempt('reload');
    }
  }

  private async kept(url: string): Promise<Response | undefined> {
    return this.cache?.match(url).catch(() => undefined);
  }

  /** Keeps a copy, if there is room for it: without, it is fetched the next time. */
  private keep(url: string, response: Response): void {
    this.cache?.put(url, response).catch(() => undefined);
  }
}

function damaged(url: string, why: unknown): FetchError {
  if (why instanceof FetchError) return why;
  return new FetchError(`${url}: it is damaged or was cut off (${text(why)}): try again, or copy the directory again`);
}

/** A server has something else than a file under its address. */
export function replaced(url: string): FetchError {
  return new FetchError(
    `${url}: the server answered with a page (HTML) in place of this file, which is missing there: copy all of ` +
      'the directory to the server, and reload the page',
  );
}

/** Whether it is a page: servers of "single-page applications" give theirs for whatever they do not have. */
function isPage(bytes: Uint8Array): boolean {
  const beginning = new TextDecoder().decode(bytes.subarray(0, 200));
  return /^\s*(<!--|<!doctype\s+html|<html)/i.test(beginning);
}

/** All bytes of a stream, which are `most` at most: of more, no more is read. */
async function collect(
  stream: ReadableStream<Bytes> | null,
  most: number,
  advance: (bytes: number) => void = () => undefined,
): Promise<Bytes> {
  const reader = stream?.getReader();
  const pieces: Bytes[] = [];
  let length = 0;
  for (let part = await reader?.read(); part?.value !== undefined; part = await reader?.read()) {
    length += part.value.length;
    if (length > most) {
      reader?.cancel().catch(() => undefined);
      throw new Error('it is larger than any file of an image');
    }
    pieces.push(part.value);
    advance(part.value.length);
  }
  const all = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/** Bytes of a stream, some at a time. */
function slowly(bytes: Bytes): ReadableStream<Bytes> {
  let at = 0;
  const pull = (controller: ReadableStreamDefaultController<Bytes>) => {
    if (at >= bytes.length) return controller.close();
    controller.enqueue(bytes.subarray(at, at + SLICE));
    at += SLICE;
  };
  return new ReadableStream({ pull }, { highWaterMark: 0 });
}

/** All bytes of an answer, as they are, and uncompressed: those are `most` at most. */
async function unzip(
  url: string,
  response: Response,
  most: number,
  advance: (bytes: number) => void,
): Promise<{ zipped: Bytes; plain: Bytes }> {
  let come = 0;
  const count = (bytes: number) => {
    come += bytes;
    advance(bytes);
  };
  try {
    // What cannot be compressed becomes longer by its headers.
    const zipped = await collect(response.body as ReadableStream<Bytes> | null, most + most / 64 + 1024, count);
    if (isPage(zipped)) throw replaced(url);
    const fails = await mismatch(url, zipped);
    if (fails !== null) throw new Error(fails);
    const unzip = new DecompressionStream('gzip') as ReadableWritablePair<Bytes, Bytes>;
    return { zipped, plain: await collect(slowly(zipped).pipeThrough(unzip), most) };
  } catch (error) {
    advance(-come);
    throw damaged(url, error);
  }
}

/** What is wrong with the digest in a file's name; `null` for nothing, or where pages cannot compute it. */
async function mismatch(url: string, bytes: Bytes): Promise<string | null> {
  const [, expected] = /([0-9a-f]{20})\.bin$/.exec(url) ?? [];
  if (expected === undefined || globalThis.crypto?.subtle === undefined) return null;
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', framed(bytes)));
  const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return found.startsWith(expected) ? null : 'it is not what its name says';
}

/** What a digest is of: the length, 64 bits little-endian, and the bytes. */
function framed(bytes: Bytes): Bytes {
  const all = new Uint8Array(8 + bytes.length);
  new DataView(all.buffer).setBigUint64(0, BigInt(bytes.length), true);
  all.set(bytes, 8);
  return all;
}
