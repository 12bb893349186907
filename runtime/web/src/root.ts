/**
 * The root file system of an image of `forelift convert --web`: chunks that are fetched when the container
 * reads them.
 *
 * @module
 */

import { Errno } from './abi.js';
import type { Fetcher } from './fetch.js';

/** What `image.json` says of it. */
export interface Manifest {
  /** Bytes of all of it, and of a chunk. */
  size: number;
  chunk: number;
  /** Names of the chunks; an empty one is all zeros. */
  chunks: string[];
}

/** Who is told what. */
export interface Notices {
  /** Something has come that the container waits for. */
  wake(): void;
  /** Something cannot be fetched, and is tried again and again; `null`: it has come. */
  trouble(error: Error | null): void;
}

/** Bytes of a block. */
const BLOCK = 4096;
/** Bytes of chunks that are kept uncompressed. */
const CAPACITY = 64 << 20;
/** How many chunks are fetched ahead of one that follows the last. */
const AHEAD = 2;
/** Milliseconds before the first and the longest pause before another try. */
const PAUSE = { first: 500, longest: 30_000 };

/** See the module's documentation. */
export class Root {
  /** Chunks that are there, the one that was used last at the end. */
  private readonly chunks = new Map<number, Uint8Array>();
  private readonly coming = new Set<number>();
  private readonly failing = new Set<number>();
  private readonly timers = new Set<ReturnType<typeof setTimeout>>();
  private last = -2;
  private closed = false;

  /** `first` are blocks, by number, that are there from the beginning. */
  constructor(
    private readonly manifest: Manifest,
    private readonly first: Map<number, Uint8Array>,
    private readonly fetcher: Pick<Fetcher, 'unzipped'>,
    private readonly notices: Notices,
  ) {}

  /** Reads all of `buffers` at `offset`: how many bytes that is, or an error below 0. */
  pread(offset: number, buffers: Uint8Array[]): number {
    const length = buffers.reduce((sum, buffer) => sum + buffer.length, 0);
    const { size } = this.manifest;
    if (!Number.isSafeInteger(offset) || offset < 0 || offset + length > size) return -Errno.INVAL;
    if (!this.want(offset, length)) return -Errno.AGAIN;
    let at = offset;
    for (const buffer of buffers) {
      for (let done = 0; done < buffer.length; ) {
        const rest = this.at(at);
        const part = rest.subarray(0, buffer.length - done);
        buffer.set(part, done);
        done += part.length;
        at += part.length;
      }
    }
    return length;
  }

  /** Nothing is fetched any more. */
  close(): void {
    this.closed = true;
    this.timers.forEach((timer) => clearTimeout(timer));
  }

  /** Whether a range is there. What is not is fetched. */
  private want(offset: number, length: number): boolean {
    let isHere = true;
    const { chunk } = this.manifest;
    for (let block = Math.floor(offset / BLOCK); block * BLOCK < offset + length; block++) {
      if (this.first.has(block)) continue;
      const number = Math.floor((block * BLOCK) / chunk);
      if (this.has(number)) continue;
      isHere = false;
      this.fetch(number);
      if (number === this.last + 1) for (let n = 1; n <= AHEAD; n++) this.fetch(number + n);
      this.last = number;
    }
    return isHere;
  }

  private has(number: number): boolean {
    return this.name(number) === '' || this.chunks.has(number);
  }

  /** The name of a chunk, which is empty for zeros. */
  private name(number: number): string {
    return this.manifest.chunks[number] ?? '';
  }

  /** What is there from `offset` on, at least a byte. */
  private at(offset: number): Uint8Array {
    const block = this.first.get(Math.floor(offset / BLOCK));
    if (block !== undefined) return block.subarray(offset % BLOCK);
    const { chunk } = this.manifest;
    const [number, within] = [Math.floor(offset / chunk), offset % chunk];
    const bytes = this.chunks.get(number);
    if (bytes !== undefined) {
      this.chunks.delete(number);
      this.chunks.set(number, bytes);
      if (within < bytes.length) return bytes.subarray(within);
    }
    // Up to the next block, which may be another one's.
    return ZEROS.subarray(offset % BLOCK);
  }

  private fetch(number: number): void {
    const name = this.name(number);
    if (this.has(number) || this.coming.has(number) || this.closed) return;
    this.coming.add(number);
    void this.attempt(number, name, PAUSE.first);
  }

  private async attempt(number: number, name: string, pause: number): Promise<void> {
    let bytes;
    try {
      bytes = await this.fetcher.unzipped(name, this.manifest.chunk);
    } catch (error) {
      if (this.closed) return;
      this.failing.add(number);
      const timer = setTimeout(() => {
        this.timers.delete(timer);
        void this.attempt(number, name, Math.min(2 * pause, PAUSE.longest));
      }, pause);
      this.timers.add(timer);
      this.notices.trouble(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    this.coming.delete(number);
    this.chunks.set(number, bytes);
    const most = Math.max(1, Math.floor(CAPACITY / this.manifest.chunk));
    for (const oldest of this.chunks.keys()) {
      if (this.chunks.size <= most) break;
      this.chunks.delete(oldest);
    }
    if (this.failing.delete(number) && this.failing.size === 0) this.notices.trouble(null);
    this.notices.wake();
  }
}

const ZEROS = new Uint8Array(BLOCK);
