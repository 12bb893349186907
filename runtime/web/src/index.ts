/**
 * Runs Linux containers that `forelift convert` has made WebAssembly of.
 *
 * ```ts
 * import { run } from 'forelift';
 *
 * const container = await run({ image: 'debian.wasm', args: ['echo', 'hello'] });
 * console.log(await new Response(container.stdout).text(), await container.exited);
 * ```
 *
 * The machine runs on the event loop of the thread that calls {@link run}, in steps of some milliseconds: in
 * a page, that should be a worker's.
 *
 * @module
 */

import type { Container } from './container.js';
import { load } from './image.js';
import { start, Waker, type RunOptions } from './start.js';

export type { Event } from './abi.js';
export type { Container, Signal, Size } from './container.js';
export { FetchError, type Progress } from './fetch.js';
export { Directory, FileError, type Entry, type Mount, type Stat } from './files.js';
export { ImageError, type Image } from './image.js';
export { hasJspi } from './jspi.js';
export { PortError, type Fetch } from './gateway.js';
export { RelayError } from './link.js';
export type { RunOptions } from './start.js';

/** Starts a container. */
export function run(options: RunOptions): Promise<Container> {
  const waker = new Waker();
  return start(options, () => load(options.image, options, waker.wake), waker);
}
