/**
 * A stream of the web whose pieces are elsewhere, and come when they are asked for.
 *
 * @module
 */

/** See the module's documentation. */
export class Pulled {
  readonly stream: ReadableStream<Uint8Array>;
  private controller: ReadableStreamDefaultController<Uint8Array> | null = null;
  private come: () => void = () => undefined;

  /** `ask` is called when somebody wants the next piece, and when nobody wants any more. */
  constructor(ask: (what: 'pull' | 'cancel') => void) {
    this.stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.controller = controller;
        },
        pull: () => {
          ask('pull');
          return new Promise<void>((resolve) => (this.come = resolve));
        },
        cancel: () => {
          this.controller = null;
          ask('cancel');
        },
      },
      { highWaterMark: 0 },
    );
  }

  /** A piece has come, asked for or not; `null`: there is no more. */
  deliver(bytes: Uint8Array | null): void {
    if (bytes === null) return this.end((controller) => controller.close());
    this.controller?.enqueue(bytes);
    this.come();
  }

  /** There is no more, and this is why. */
  fail(error: Error): void {
    this.end((controller) => controller.error(error));
  }

  private end(how: (controller: ReadableStreamDefaultController<Uint8Array>) => void): void {
    if (this.controller !== null) how(this.controller);
    this.controller = null;
    this.come();
  }
}
