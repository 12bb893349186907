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
    const programs = files.filter((file) => file.startsWith('app-'));
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
        throw damaged(url, error);
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
    let response;
    try {
      response = await fetchFile(url, { cache: 'no-cache' });
    } catch (error) {
      const kept = await this.kept(url);
      if (kept === undefined) throw error;
      response = kept;
    }
    return new Uint8Array(await response.arrayBuffer());
  }

  /** A compressed file, uncompressed; `advance` is told the bytes that have come, as they are stored. */
  async unzipped(file: string, advance: (bytes: number) => void = () => undefined): Promise<Uint8Array> {
    const url = new URL(file, this.base).href;
    const kept = await this.kept(url);
    if (kept !== undefined) {
      try {
        return await unzip(url, await whole(url, kept, advance));
      } catch {
        await this.cache?.delete(url);
      }
    }
    return this.twice(async (mode) => {
      const response = await fetchFile(url, { cache: mode });
      const zipped = await whole(url, response, advance);
      const plain = await unzip(url, zipped);
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

/** All bytes of an answer. */
async function whole(url: string, response: Response, advance: (bytes: number) => void): Promise<Bytes> {
  const pieces: Bytes[] = [];
  let length = 0;
  try {
    const reader = (response.body as ReadableStream<Bytes> | null)?.getReader();
    for (let part = await reader?.read(); part?.value !== undefined; part = await reader?.read()) {
      pieces.push(part.value);
      length += part.value.length;
      advance(part.value.length);
    }
  } catch (error) {
    advance(-length);
    throw damaged(url, error);
  }
  const all = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  const fails = await mismatch(url, all);
  if (fails !== null) {
    advance(-length);
    throw damaged(url, fails);
  }
  return all;
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

async function unzip(url: string, zipped: Bytes): Promise<Uint8Array> {
  const unzip = new DecompressionStream('gzip') as ReadableWritablePair<Bytes, Bytes>;
  try {
    return new Uint8Array(await new Response(new Blob([zipped]).stream().pipeThrough(unzip)).arrayBuffer());
  } catch (error) {
    throw damaged(url, error);
  }
}
