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
    const wanted = new Set([...PAGE, ...files].map((file) => new URL(file, this.base).href));
    const own = new URL('.', this.base).href;
    for (const { url } of (await this.cache?.keys()) ?? []) {
      if (url.startsWith(own) && !wanted.has(url)) await this.cache?.delete(url);
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

  /** A module, to be compiled as it comes: from the network, whose copy an engine keeps compiled. */
  async code(file: string): Promise<Response> {
    const url = new URL(file, this.base).href;
    try {
      const response = await this.fetch(url);
      this.keep(url, response.clone());
      return response;
    } catch (error) {
      const kept = await this.kept(url);
      if (kept !== undefined) return kept;
      throw error;
    }
  }

  /** A file as it is, which may have changed since the last time. */
  async plain(url: string): Promise<Uint8Array> {
    let response;
    try {
      response = await this.fetch(url, { cache: 'no-cache' });
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
    const response = kept ?? (await this.fetch(url));
    if (kept === undefined) this.keep(url, response.clone());
    const counted = new TransformStream<Bytes, Bytes>({
      transform(chunk, controller) {
        advance(chunk.length);
        controller.enqueue(chunk);
      },
    });
    try {
      const body = response.body ?? new Blob([]).stream();
      const unzip = new DecompressionStream('gzip') as ReadableWritablePair<Bytes, Bytes>;
      const plain = body.pipeThrough(counted).pipeThrough(unzip);
      return new Uint8Array(await new Response(plain).arrayBuffer());
    } catch (error) {
      await this.cache?.delete(url);
      throw new FetchError(
        `${url}: it is damaged or was cut off (${text(error)}): try again, or copy the directory again`,
      );
    }
  }

  private async fetch(url: string, options: RequestInit = {}): Promise<Response> {
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

  private async kept(url: string): Promise<Response | undefined> {
    return this.cache?.match(url).catch(() => undefined);
  }

  /** Keeps a copy, if there is room for it: without, it is fetched the next time. */
  private keep(url: string, response: Response): void {
    this.cache?.put(url, response).catch(() => undefined);
  }
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
