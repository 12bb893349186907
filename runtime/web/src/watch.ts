/**
 * Notices that a worker does not answer any more. A browser that ends one, or that cannot run it, tells its
 * page nothing.
 *
 * @module
 */

/** Milliseconds between two looks, and for how many a worker may be silent: a page's timers may be late. */
const LOOK = 5000;
const LOOKS = 3;

/** See the module's documentation. */
export class Watch {
  private timer: ReturnType<typeof setInterval> | null = null;
  private looks = 0;
  private isSilent = false;

  /** `ask` sends the worker what it answers; `tell` is told when it is silent, and when it is not. */
  constructor(
    private readonly ask: () => void,
    private readonly tell: (isSilent: boolean) => void,
    private readonly look = LOOK,
  ) {}

  /** Somebody wants something of the worker. */
  expect(): void {
    if (this.timer !== null || this.isSilent) return;
    this.ask();
    this.looks = 0;
    this.timer = setInterval(() => {
      this.looks += 1;
      if (this.looks < LOOKS) return;
      this.end();
      this.isSilent = true;
      this.tell(true);
    }, this.look);
  }

  /** The worker has said something. */
  heard(): void {
    this.end();
    if (this.isSilent) this.tell(false);
    this.isSilent = false;
  }

  /** Nobody looks any more. */
  end(): void {
    if (this.timer !== null) clearInterval(this.timer);
    this.timer = null;
  }
}
