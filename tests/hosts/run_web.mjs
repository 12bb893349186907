// Run an image on Node by the npm package of runtime/web, in steps on Node's event loop.
//
//     node run_web.mjs [-i] [-t] [--env K=V] [--dir HOST::GUEST] [--net-stream ws://HOST:PORT/PATH]
//         IMAGE [ARGS...]
//
// IMAGE is a module, or the address of the image.json of a directory of `convert --web`.
//
// As `forelift run`: standard input is passed on when it is no terminal, or with -i; -t gives the container a
// terminal; signals are passed on to its command.
//
// --dir is for the tests: HOST is copied into a directory in memory before the run, and what has changed
// there is written back after it. What changes in HOST meanwhile is not seen.

import { readFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { webcrypto } from 'node:crypto';
import { Directory, run } from '../../runtime/web/dist/index.js';
import { load, store } from './web_dir.mjs';

// Debian 12's Node is 18, the last without it.
globalThis.crypto ??= webcrypto;

const rest = process.argv.slice(2);
const options = { env: {}, stdin: !process.stdin.isTTY, directories: {} };
const loaded = [];
while (rest[0]?.startsWith('-')) {
    const option = rest.shift();
    for (const flag of /^-[it]+$/.test(option) ? option.slice(1) : '') {
        if (flag === 'i') options.stdin = true;
        else options.tty = true;
    }
    if (option === '--env') {
        const [, name, value] = /^([^=]*)=(.*)$/s.exec(rest.shift());
        options.env[name] = value;
    }
    if (option === '--dir') {
        const [, host, guest] = /^(.*?)(?:::(.*))?$/s.exec(rest.shift());
        const directory = new Directory();
        options.directories[guest ?? host] = directory;
        try {
            loaded.push([host, directory, load(host, directory)]);
        } catch (error) {
            console.error(`forelift: --dir ${host}: ${error.message}`);
            process.exit(125);
        }
    }
    if (option === '--net-stream') options.net = rest.shift();
}
const [image, ...args] = rest;
if (image === undefined) {
    console.error(
        'usage: run_web.mjs [-i] [-t] [--env K=V] [--dir HOST::GUEST] [--net-stream URL] IMAGE [ARGS...]',
    );
    process.exit(2);
}

const size = () => ({ rows: process.stdout.rows ?? 24, cols: process.stdout.columns ?? 80 });
if (options.tty) options.tty = size();
options.onTrouble = (error) => console.error(error === null ? 'forelift: it goes on' : `forelift: ${error.message}`);
options.image = /^https?:/.test(image) ? image : await readFile(image);
const container = await run({ ...options, args }).catch((error) => {
    console.error(`forelift: ${error.message}`);
    process.exit(125);
});

for (const name of ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGTERM']) {
    process.on(name, () => container.kill(name));
}
if (options.tty) {
    process.stdout.on('resize', () => container.resize(size()));
    if (options.stdin) process.stdin.setRawMode?.(true);
}
if (options.stdin) Readable.toWeb(process.stdin).pipeTo(container.stdin).catch(() => undefined);

const [CR, LF] = [13, 10];
// libuv's raw mode lets the terminal put a CR before each LF, which the container's own has done already.
const isRaw = options.tty && options.stdin && process.stdin.isTTY;
const plain = (chunk) => (isRaw ? chunk.filter((byte, at) => byte !== CR || chunk[at + 1] !== LF) : chunk);

/** Passes on what comes, as fast as it is taken. Who does not read any more is told to the container. */
async function pass(from, to) {
    to.on('error', () => undefined);
    for await (const chunk of from) {
        const error = await new Promise((resolve) => to.write(plain(chunk), resolve));
        if (error) return;
    }
}

const passed = [pass(container.stdout, process.stdout), pass(container.stderr, process.stderr)];
const status = await container.exited.catch((error) => {
    console.error(`forelift: the module has failed: ${error.message}`);
    return 125;
});
await Promise.all(passed);
for (const [host, directory, before] of loaded) store(directory, host, before);
if (options.tty && options.stdin) process.stdin.setRawMode?.(false);
process.exit(status);
