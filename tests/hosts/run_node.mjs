// Run an image on Node's own WASI, with nothing but preview 1.
//
//     node run_node.mjs [--dir HOST::GUEST] [--env K=V] [--net-stream ADDR] IMAGE.wasm [ARGS...]
//
// ADDR is where the container's network is: tcp:HOST:PORT or ws://HOST:PORT/PATH of a relay
// (`forelift net-relay`), which becomes a descriptor of the module's.

import { readFileSync } from 'node:fs';
import { WASI } from 'node:wasi';

const rest = process.argv.slice(2);
const preopens = {};
const env = {};
let address = null;
while (['--dir', '--env', '--net-stream'].includes(rest[0])) {
    const [option, value] = rest.splice(0, 2);
    if (option === '--net-stream') {
        address = value;
        continue;
    }
    const [separator, table] = option === '--dir' ? ['::', preopens] : ['=', env];
    const at = value.indexOf(separator);
    const first = at < 0 ? value : value.slice(0, at);
    const second = at < 0 ? value : value.slice(at + separator.length);
    if (option === '--dir') table[second] = first;
    else table[first] = second;
}
if (rest.length === 0) {
    console.error('usage: run_node.mjs [--dir HOST::GUEST] [--env K=V] [--net-stream ADDR] IMAGE.wasm [ARGS...]');
    process.exit(2);
}

// With returnOnExit (Node's default) the module is unwound and the process ends in its own time. Without it
// the process ends inside of proc_exit, while V8 may still compile in the background: Node 20 dies of SIGSEGV
// in one such run of ten.
let [stream, args] = [null, rest];
if (address !== null) {
    const { FD, open } = await import('./net_stream.mjs');
    stream = await open(address).catch((error) => {
        console.error(`run_node.mjs: --net-stream ${error.message}`);
        process.exit(2);
    });
    args = [rest[0], '--net-stream', `fd:${FD}`, ...rest.slice(1)];
}
const wasi = new WASI({ version: 'preview1', args, env, preopens, returnOnExit: true });
const module = await WebAssembly.compile(readFileSync(rest[0]));
const imports = wasi.getImportObject();
let instance = null;
if (stream !== null) {
    const memory = () => instance.exports.memory;
    imports.wasi_snapshot_preview1 = stream.wrap(imports.wasi_snapshot_preview1, memory);
}
instance = await WebAssembly.instantiate(module, imports);
process.exitCode = wasi.start(instance) ?? 0;
await stream?.close();
