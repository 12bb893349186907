/**
 * Bytes on their way into a container and out of it. The container's end never waits; the page's ends are
 * streams of the web, which do.
 *
 * @module
 */

/** Bytes that a pipe holds before it has its writer wait. */
const CAPACITY = 256 * 1024;

/** Bytes in order, as they came in pieces. */
class Queue {
  private pieces: Uint8Array[] = [];
  length = 0;

  push(piece: Uint8Array): void {
    if (piece.length === 0) return;
    this.pieces.push(piece);
    this.length += piece.length;
  }

  /** Moves as many bytes as there are and fit; how many that was. */
  read(into: Uint8Array): number {
    let done = 0;
    for (let first = this.pieces[0]; first !== undefined && done < into.length; first = this.pieces[0]) {
      const part = first.subarray(0, into.length - done);
      into.set(part, done);
      done += part.length;
      if (part.length === first.length) this.pieces.shift();
      else this.pieces[0] = first.subarray(part.length);
    }
    this.length -= done;
    return done;
  }

  take(): Uint8Array {
    const all = new Uint8Array(this.length);
    this.read(all);
    return all;
  }
}

/** A copy of what is written to a container. Its writer may use its buffer again. */
export function copied(chunk: unknown): Uint8Array<ArrayBuffer> {
  if (chunk instanceof ArrayBuffer) return new Uint8Array(chunk.slice(0));
  if (!ArrayBuffer.isView(chunk)) {
    throw new TypeError('standard input takes bytes: put a TextEncoderStream before it for texts');
  }
  return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength).slice();
}

/** What a container reads: written to as a stream of the web. */
export class Input {
  private queue = new Queue();
  private ended = false;
  private over = false;
  private room: (() => void) | null = null;
  /** To be written to. What comes after the container's end is dropped. */
  readonly stream: WritableStream<Uint8Array>;

  /** `wake` is called when there is something new for the container. */
  constructor(wake: () => void) {
    const end = () => {
      this.ended = true;
      wake();
    };
    this.stream = new WritableStream<Uint8Array>({
      write: (chunk) => {
        const bytes = copied(chunk);
        // Nobody reads it any more.
        if (this.over) return undefined;
        this.queue.push(bytes);
        wake();
        if (this.queue.length < CAPACITY) return undefined;
        return new Promise((resolve) => (this.room = resolve));
      },
      close: end,
      abort: end,
    });
  }

  /** The container has ended: who waits for it waits no more. */
  end(): void {
    this.over = true;
    this.queue.take();
    this.room?.();
    this.room = null;
  }

  /** How many bytes were read; 0 at the end, -1 when there is nothing yet. */
  read(into: Uint8Array): number {
    const done = this.queue.read(into);
    if (this.queue.length < CAPACITY) {
      this.room?.();
      this.room = null;
    }
    return done > 0 || into.length === 0 ? done : this.ended ? 0 : -1;
  }
}

/** What a container writes: read from as a stream of the web. */
export class Output {
  private queue = new Queue();
  private wanted: ReadableStreamDefaultController<Uint8Array> | null = null;
  private pulled: (() => void) | null = null;
  private ended = false;
  private closed = false;
  /** To be read from. */
  readonly stream: ReadableStream<Uint8Array>;

  /** `wake` is called when there is room again where there was none. */
  constructor(private readonly wake: () => void) {
    this.stream = new ReadableStream<Uint8Array>(
      {
        pull: (controller) => {
          this.wanted = controller;
          this.deliver();
          return this.wanted === null ? undefined : new Promise((resolve) => (this.pulled = resolve));
        },
        cancel: () => {
          this.closed = true;
          this.queue.take();
          this.wanted = null;
          this.pulled?.();
          wake();
        },
      },
      { highWaterMark: 0 },
    );
  }

  /** How many bytes were taken; 0 when there is no room, -1 when nobody reads any more. */
  write(from: Uint8Array): number {
    if (this.closed) return -1;
    const part = from.subarray(0, Math.max(0, CAPACITY - this.queue.length));
    this.queue.push(part.slice());
    this.deliver();
    return part.length;
  }

  /** Nothing more comes. */
  end(): void {
    this.ended = true;
    this.deliver();
  }

  private deliver(): void {
    const controller = this.wanted;
    if (controller === null || (this.queue.length === 0 && !this.ended)) return;
    const wasFull = this.queue.length >= CAPACITY;
    if (this.queue.length > 0) controller.enqueue(this.queue.take());
    else controller.close();
    this.wanted = null;
    this.pulled?.();
    this.pulled = null;
    if (wasFull) this.wake();
  }
}
