/**
 * A machine in this thread: an instance of an image's module, and the steps that run it.
 *
 * @module
 */

import { step, type Step } from './abi.js';
import { ImageError, type Loaded } from './image.js';
import { Preview1, type Surroundings } from './preview1.js';

/** What an image's module exports for its host. */
interface Exports {
  memory: WebAssembly.Memory;
  forelift_step(budget: bigint): bigint;
}

/** A module as an image, or an error that says what is wrong with it. */
function exports(instance: WebAssembly.Instance): Exports {
  const { memory, forelift_step } = instance.exports;
  if (memory instanceof WebAssembly.Memory && typeof forelift_step === 'function') {
    return { memory, forelift_step: forelift_step as Exports['forelift_step'] };
  }
  throw new ImageError(
    'this WebAssembly module is no image that can be run in steps: make it with `forelift convert`, of the ' +
      "version that this package is of, and without --component",
  );
}

/** A machine that was not started yet. */
export class Machine {
  private readonly forelift_step: Exports['forelift_step'];

  private constructor(
    readonly wasi: Preview1,
    instance: Exports,
  ) {
    wasi.memory = instance.memory;
    this.forelift_step = instance.forelift_step;
  }

  /** An instance of an image with these streams. */
  static async new({ module, fill, root }: Loaded, around: Omit<Surroundings, 'root'>): Promise<Machine> {
    const wasi = new Preview1({ ...around, root });
    let instance;
    try {
      instance = await WebAssembly.instantiate(module, { wasi_snapshot_preview1: wasi.imports(module) });
    } catch (error) {
      if (error instanceof WebAssembly.LinkError) throw new ImageError(`this module is no image: ${error.message}`);
      throw error;
    }
    const ours = exports(instance);
    fill(ours.memory);
    return new Machine(wasi, ours);
  }

  /** Runs for about so many milliseconds, less when there is nothing to do. */
  step(ms: number): Step {
    return step(this.forelift_step(BigInt(Math.round(ms * 1e6))));
  }
}
