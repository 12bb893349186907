/**
 * Runs a machine on this thread's event loop: steps, between which everything else has its turn, and sleep
 * when there is nothing to do.
 *
 * @module
 */

import type { Machine } from './machine.js';

/** Milliseconds of a step. A frame of a page is 16. */
const STEP = 8;
/** The longest timer that there is; what sleeps longer is woken, and sleeps again. */
const LONGEST = 0x7fffffff;

/** What runs a machine to its end. */
export interface Runner {
  /** The exit status, once the container has ended. Rejected when the module fails. */
  readonly ended: Promise<number>;
  /** Something has come for the machine: its sleep ends. */
  wake(): void;
  /** Ends it, wherever it is. */
  kill(status: number): void;
}

/** Runs a machine in steps. */
export class Driver implements Runner {
  private readonly channel = new MessageChannel();
  private timer: ReturnType<typeof setTimeout> | null = null;
  private asleep = false;
  private over = false;
  readonly ended: Promise<number>;
  private resolve: (status: number) => void = () => undefined;
  private reject: (error: unknown) => void = () => undefined;

  constructor(private readonly machine: Machine) {
    this.ended = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.channel.port1.onmessage = () => this.turn();
    this.soon();
  }

  wake(): void {
    if (!this.asleep || this.over) return;
    this.asleep = false;
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    this.soon();
  }

  kill(status: number): void {
    this.end(() => this.resolve(status));
  }

  /** A message comes behind all that the event loop has to do already; a timer would be held back to 4 ms. */
  private soon(): void {
    this.channel.port2.postMessage(null);
  }

  private end(tell: () => void): void {
    if (this.over) return;
    this.over = true;
    if (this.timer !== null) clearTimeout(this.timer);
    // An open port keeps a process of Node alive.
    this.channel.port1.close();
    tell();
  }

  private turn(): void {
    if (this.over) return;
    let step;
    try {
      step = this.machine.step(STEP);
    } catch (error) {
      this.end(() => this.reject(error));
      return;
    }
    switch (step.kind) {
      case 'ended': {
        const { status } = step;
        this.end(() => this.resolve(status));
        return;
      }
      case 'again':
        this.soon();
        return;
      case 'idle':
        this.asleep = true;
        if (step.ms < Infinity) this.timer = setTimeout(() => this.wake(), Math.min(step.ms, LONGEST));
    }
  }
}
