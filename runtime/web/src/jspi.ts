/**
 * The second way to run a machine: its own main function, which waits in `poll_oneoff`, by WebAssembly's
 * JavaScript Promise Integration (JSPI). It needs nothing of a module but WASI preview 1.
 *
 * @module
 */

import { EventType, Errno, Exit } from './abi.js';
import type { Runner } from './drive.js';

/** Milliseconds that a machine runs before everything else has its turn. */
const TURN = 8;
/** The longest timer that there is. */
const LONGEST = 0x7fffffff;
/** Bytes of a subscription and of an event, and where their fields are (WASI preview 1). */
const SUBSCRIPTION = { size: 48, tag: 8, timeout: 24, fd: 16 };
const EVENT = { size: 32, error: 8, type: 10 };

/** What JSPI adds to `WebAssembly`, where there is JSPI. */
interface Jspi {
  Suspending: new (call: (...args: never[]) => unknown) => WebAssembly.ImportValue;
  promising(call: unknown): () => Promise<void>;
}

/** JSPI, or an error that says that there is none. */
function jspi(): Jspi {
  const found = WebAssembly as unknown as Partial<Jspi>;
  if (found.Suspending !== undefined && found.promising !== undefined) return found as Jspi;
  throw new Error('this browser has no JSPI (JavaScript Promise Integration): leave out `mode`, or take another one');
}

/** Whether `mode: 'jspi'` can be had here. */
export function hasJspi(): boolean {
  return 'Suspending' in WebAssembly && 'promising' in WebAssembly;
}

/** Runs a machine by JSPI. */
export class Waiter implements Runner {
  readonly ended: Promise<number>;
  private resolve: (status: number) => void = () => undefined;
  private reject: (error: unknown) => void = () => undefined;
  private readonly channel = new MessageChannel();
  private turn = performance.now();
  private go: (() => void) | null = null;
  private woken = false;
  private over = false;

  /** `memory` gives the instance's memory. */
  constructor(private readonly memory: () => ArrayBuffer) {
    this.ended = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }

  /** The imports, with those that wait in place of those that do not. */
  imports(imports: WebAssembly.ModuleImports): WebAssembly.ModuleImports {
    const { Suspending } = jspi();
    const read = imports['fd_read'] as (fd: number, list: number, count: number, result: number) => number;
    const waiting = {
      // A machine that is busy reads now and then: that is when others have their turn.
      fd_read: new Suspending((fd: number, list: number, count: number, result: number) =>
        performance.now() - this.turn < TURN
          ? read(fd, list, count, result)
          : this.others().then(() => read(fd, list, count, result)),
      ),
      poll_oneoff: new Suspending((from: number, to: number, count: number, result: number) =>
        this.poll(from >>> 0, to >>> 0, count >>> 0, result >>> 0),
      ),
      proc_exit: (status: number) => {
        throw new Exit(status);
      },
    };
    return { ...imports, ...waiting };
  }

  /** Begins to run the module's main function. */
  start(main: unknown): void {
    const end = (tell: () => void) => {
      this.over = true;
      this.channel.port1.close();
      tell();
    };
    jspi()
      .promising(main)()
      .then(
        () => end(() => this.resolve(0)),
        (error: unknown) => {
          if (error instanceof Exit) end(() => this.resolve(error.status));
          else end(() => this.reject(error));
        },
      );
  }

  wake(): void {
    this.woken = true;
    this.go?.();
  }

  kill(status: number): void {
    // It waits for ever in its next call.
    this.over = true;
    this.channel.port1.close();
    this.resolve(status);
  }

  /** Lets everything else of the thread have its turn. */
  private others(): Promise<void> {
    return this.sleep((go) => {
      this.channel.port1.onmessage = go;
      this.channel.port2.postMessage(null);
    });
  }

  private async sleep(until: (go: () => void) => void): Promise<void> {
    await new Promise<void>((resolve) => {
      if (!this.over) until(resolve);
    });
    this.turn = performance.now();
  }

  /** Waits until the first clock, or until something has come; says that all descriptors are ready then. */
  private async poll(from: number, to: number, count: number, result: number): Promise<number> {
    const asked = Array.from({ length: count }, (_, nth) => from + nth * SUBSCRIPTION.size);
    let words = new DataView(this.memory());
    const isClock = (at: number) => words.getUint8(at + SUBSCRIPTION.tag) === EventType.CLOCK;
    const timeouts = asked
      .filter(isClock)
      .map((at) => Number(words.getBigUint64(at + SUBSCRIPTION.timeout, true)) / 1e6);
    const timeout = Math.min(...timeouts, LONGEST);
    let isOver = false;
    if (!this.woken) {
      await this.sleep((go) => {
        const timer = setTimeout(() => {
          isOver = timeouts.length > 0;
          go();
        }, timeout);
        this.go = () => {
          clearTimeout(timer);
          go();
        };
      });
    }
    this.go = null;
    this.woken = false;
    words = new DataView(this.memory());
    let told = 0;
    for (const at of asked) {
      if (isClock(at) !== isOver) continue;
      const event = to + told++ * EVENT.size;
      words.setBigUint64(event, words.getBigUint64(at, true), true);
      words.setUint16(event + EVENT.error, Errno.SUCCESS, true);
      words.setUint8(event + EVENT.type, words.getUint8(at + SUBSCRIPTION.tag));
      words.setBigUint64(event + EVENT.type + 6, 0n, true);
      words.setBigUint64(event + EVENT.type + 14, 0n, true);
    }
    words.setUint32(result, told, true);
    return Errno.SUCCESS;
  }
}
