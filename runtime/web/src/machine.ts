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
  _start(): void;
}

/** A module as an image, or an error that says what is wrong with it. */
function exports(instance: WebAssembly.Instance): Exports {
  const { memory, forelift_step, _start } = instance.exports;
  const isImage = typeof forelift_step === 'function' && typeof _start === 'function';
  if (memory instanceof WebAssembly.Memory && isImage) {
    return { memory, forelift_step, _start } as Exports;
  }
  throw new ImageError(
    'this WebAssembly module is no image that can be run in steps: make it with `forelift convert`, of the ' +
      "version that this package is of, and without --component",
  );
}

/** Changes the imports of a module. */
export type Change = (imports: WebAssembly.ModuleImports) => WebAssembly.ModuleImports;

/** A machine that was not started yet. */
export class Machine {
  private constructor(
    readonly wasi: Preview1,
    private readonly exports: Exports,
  ) {
    wasi.memory = exports.memory;
  }

  /** An instance of an image with these streams; `change` may put others in place of its imports. */
  static async new(
    { module, fill, root }: Loaded,
    around: Omit<Surroundings, 'root'>,
    change: Change = (imports) => imports,
  ): Promise<Machine> {
    const wasi = new Preview1({ ...around, root });
    const imports = { wasi_snapshot_preview1: change(wasi.imports(module)) };
    let instance;
    try {
      instance = await WebAssembly.instantiate(module, imports);
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
    return step(this.exports.forelift_step(BigInt(Math.round(ms * 1e6))));
  }

  /** Its main function, for who does not run it in steps. */
  get main(): () => void {
    return this.exports._start;
  }

  /** Its memory as it is now. */
  get buffer(): ArrayBuffer {
    return this.exports.memory.buffer;
  }
}
