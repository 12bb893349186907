/**
 * The bytes of a file in memory.
 *
 * @module
 */

import { FileError } from './errors.js';

/** Bytes of a piece. A file is pieces of this size, so that it grows without being moved, and has holes. */
const PIECE = 1 << 20;

/** Bytes that can be written to anywhere. What was never written is a hole: zeros that take no memory. */
export class Content {
  private length = 0;
  /** By number. One that is shorter than {@link PIECE} goes on with zeros. */
  private readonly pieces = new Map<number, Uint8Array>();

  /** Its length in bytes. */
  get size(): number {
    return this.length;
  }

  /** Fills `into` from an offset on, as far as there is something; how many bytes that was. */
  read(into: Uint8Array, at: number): number {
    const count = Math.max(0, Math.min(into.length, this.length - at));
    for (let done = 0; done < count; ) {
      const [nth, from] = place(at + done);
      const part = into.subarray(done, Math.min(count, done + PIECE - from));
      const bytes = this.pieces.get(nth)?.subarray(from, from + part.length) ?? new Uint8Array();
      part.set(bytes);
      part.fill(0, bytes.length);
      done += part.length;
    }
    return count;
  }

  /** Stores bytes from an offset on; how many, which are fewer than given when there is no memory left. */
  write(bytes: Uint8Array, at: number): number {
    if (at + bytes.length > Number.MAX_SAFE_INTEGER) throw new FileError('FBIG');
    let done = 0;
    while (done < bytes.length) {
      const [nth, from] = place(at + done);
      const part = bytes.subarray(done, done + PIECE - from);
      const piece = this.room(nth, from + part.length);
      if (piece === null) break;
      piece.set(part, from);
      done += part.length;
      this.length = Math.max(this.length, at + done);
    }
    return done;
  }

  /** Cuts it, or makes it longer by a hole. */
  resize(size: number): void {
    if (size > Number.MAX_SAFE_INTEGER) throw new FileError('FBIG');
    if (size < this.length) {
      const [last, keep] = place(size);
      for (const nth of this.pieces.keys()) {
        if (nth > last || (nth === last && keep === 0)) this.pieces.delete(nth);
      }
      const piece = this.pieces.get(last);
      // What comes after the end must be zeros, for the file may grow again.
      if (piece !== undefined && keep < piece.length / 4) this.pieces.set(last, piece.slice(0, keep));
      else piece?.fill(0, keep);
    }
    this.length = size;
  }

  /** A piece with room for so many bytes, `null` without memory. It doubles: small writes cost little. */
  private room(nth: number, length: number): Uint8Array | null {
    const old = this.pieces.get(nth);
    if (old !== undefined && old.length >= length) return old;
    const piece = allocate(old === undefined ? length : Math.min(PIECE, Math.max(length, 2 * old.length)));
    if (piece === null) return null;
    if (old !== undefined) piece.set(old);
    this.pieces.set(nth, piece);
    return piece;
  }
}

/** So many zeros; `null` when there is no memory for them. */
export function allocate(length: number): Uint8Array | null {
  try {
    return new Uint8Array(length);
  } catch {
    return null;
  }
}

/** Where a byte lies: the number of its piece, and its place in that. */
function place(at: number): [number, number] {
  return [Math.floor(at / PIECE), at % PIECE];
}
