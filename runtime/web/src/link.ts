/**
 * A container's network by way of a relay (`forelift net-relay --listen ws://...`): its link, a stream of
 * frames in QEMU's framing, in the binary messages of a WebSocket.
 *
 * @module
 */

import { text } from './fetch.js';
import type { Link } from './preview1.js';

/** Bytes that wait for the relay before the container has to. */
const CAPACITY = 1 << 20;
/** Milliseconds between two looks at whether a full socket has room again: it does not tell. */
const LOOK = 5;

/** A relay that cannot be reached. */
export class RelayError extends Error {
  override name = 'RelayError';
}

/** A link over a WebSocket that is open. */
export class WebSocketLink implements Link {
  private pieces: Uint8Array[] = [];
  private ended = false;
  private timer: ReturnType<typeof setInterval> | null = null;
  /** Called when there is something new for the container. */
  wake: () => void = () => undefined;

  private constructor(private readonly socket: WebSocket) {
    socket.onmessage = ({ data }) => {
      this.pieces.push(new Uint8Array(data as ArrayBuffer));
      this.wake();
    };
    socket.onclose = () => this.end();
  }

  /** Connects to a relay. */
  static open(url: string): Promise<WebSocketLink> {
    return new Promise((resolve, reject) => {
      if (globalThis.WebSocket === undefined) {
        throw new RelayError(`${url}: there are no WebSockets here: Node has them from version 22 on`);
      }
      let socket: WebSocket;
      try {
        socket = new WebSocket(url);
      } catch (error) {
        const why = `a relay's address begins with ws: or wss: (${text(error)})`;
        throw new RelayError(`${url}: ${why}`);
      }
      socket.binaryType = 'arraybuffer';
      socket.onopen = () => resolve(new WebSocketLink(socket));
      // The web tells pages nothing about why.
      socket.onerror = () =>
        reject(
          new RelayError(
            `${url} cannot be reached: is \`forelift net-relay --listen ${url}\` running, and does it let this page in ` +
              '(--allow-origin)?',
          ),
        );
    });
  }

  read(into: Uint8Array): number {
    const first = this.pieces[0];
    if (first === undefined) return this.ended ? 0 : -1;
    const part = first.subarray(0, into.length);
    into.set(part);
    if (part.length === first.length) this.pieces.shift();
    else this.pieces[0] = first.subarray(part.length);
    return part.length;
  }

  write(from: Uint8Array): number {
    if (this.ended) return -1;
    if (this.socket.bufferedAmount >= CAPACITY) {
      this.timer ??= setInterval(() => this.look(), LOOK);
      return 0;
    }
    this.socket.send(from.slice());
    return from.length;
  }

  /** Ends the link. */
  close(): void {
    this.socket.close();
    this.end();
  }

  private look(): void {
    if (this.socket.bufferedAmount >= CAPACITY && !this.ended) return;
    this.stop();
    this.wake();
  }

  private stop(): void {
    if (this.timer !== null) clearInterval(this.timer);
    this.timer = null;
  }

  private end(): void {
    this.ended = true;
    this.stop();
    this.wake();
  }
}
