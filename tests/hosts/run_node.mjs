// Run an image on Node's own WASI, with nothing but preview 1.
//
//     node run_node.mjs [--dir HOST::GUEST] [--env K=V] IMAGE.wasm [ARGS...]

import { readFileSync } from 'node:fs';
import { WASI } from 'node:wasi';

const rest = process.argv.slice(2);
const preopens = {};
const env = {};
while (rest[0] === '--dir' || rest[0] === '--env') {
    const [option, value] = rest.splice(0, 2);
    const [separator, table] = option === '--dir' ? ['::', preopens] : ['=', env];
    const at = value.indexOf(separator);
    const first = at < 0 ? value : value.slice(0, at);
    const second = at < 0 ? value : value.slice(at + separator.length);
    if (option === '--dir') table[second] = first;
    else table[first] = second;
}
if (rest.length === 0) {
    console.error('usage: run_node.mjs [--dir HOST::GUEST] [--env K=V] IMAGE.wasm [ARGS...]');
    process.exit(2);
}

// With returnOnExit (Node's default) the module is unwound and the process ends in its own time. Without it
// the process ends inside of proc_exit, while V8 may still compile in the background: Node 20 dies of SIGSEGV
// in one such run of ten.
const wasi = new WASI({ version: 'preview1', args: rest, env, preopens, returnOnExit: true });
const module = await WebAssembly.compile(readFileSync(rest[0]));
const instance = await WebAssembly.instantiate(module, wasi.getImportObject());
process.exitCode = wasi.start(instance) ?? 0;
