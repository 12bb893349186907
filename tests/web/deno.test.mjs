// The npm package in Deno, installed in an empty directory, with no permission beyond what is named here.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { web } from './images.mjs';
import { serve } from './serve.mjs';
import { TOP, work } from './temporary.mjs';

const IMAGE = process.env.FORELIFT_IMAGE;
const skip = IMAGE === undefined && 'NOT TESTED: set FORELIFT_IMAGE to an image with a shell';
const DENO = join(TOP, 'tests/web/node_modules/.bin/deno');
const user = join(work, 'deno');
const execute = promisify(execFile);

let small;
let server;
before(async () => {
    mkdirSync(user);
    writeFileSync(join(user, 'package.json'), '{ "private": true, "type": "module" }');
    const pack = ['pack', '--json', '--pack-destination', user];
    const packed = await execute('npm', pack, { cwd: join(TOP, 'runtime/web') });
    const [{ filename }] = JSON.parse(packed.stdout);
    await execute('npm', ['install', '--offline', '--no-audit', '--no-fund', join(user, filename)], { cwd: user });
    small = web('busybox', { args: 'sh' }).dir;
    server = await serve(small);
});
after(() => server?.close());

/** Type-checks and runs a program with these permissions; what it prints. */
async function deno(source, permissions, ...args) {
    const file = join(user, 'main.ts');
    writeFileSync(file, source);
    const fixed = ['--check', '--no-prompt', '--no-remote', '--cached-only', '--node-modules-dir=manual'];
    const env = { ...process.env, DENO_DIR: join(user, 'cache'), NO_COLOR: '1' };
    const options = { cwd: user, env, timeout: 120_000 };
    const { stdout } = await execute(DENO, ['run', ...fixed, ...permissions, file, ...args], options);
    return stdout;
}

/** A program that runs a command of `image`, and looks at its streams, its status and its directory. */
const program = (from, kind, image) => `
    import { ${kind}, run } from '${from}';

    const data = new ${kind}();
    const given = data.write('in', 'given');
    const input = new Uint8Array(2_000_000).map((_, at) => (at * 31) ^ (at >> 8));
    const same = (bytes: Uint8Array) => bytes.length === input.length && bytes.every((byte, at) => byte === input[at]);
    const args = ['sh', '-c', 'cat /data/in >&2; mkdir /data/d; tee /data/d/out; exit 5'];
    const container = await run({ image: ${image}, args, directories: { '/data': data } });
    await given;
    const writer = container.stdin.getWriter();
    const written = writer.write(input).then(() => writer.close());
    const output = new Uint8Array(await new Response(container.stdout).arrayBuffer());
    await written;
    const said = await new Response(container.stderr).text();
    const status = await container.exited;
    const read = await data.read('d/out');
    container.destroy();
    console.log(JSON.stringify([same(output), said, status, same(read)]));
`;

const HERE = (image) => program('forelift', 'Directory', image);
const IN_WORKER = (image) => program('forelift/worker', 'RemoteDirectory', image);

/** What that prints. */
const EXPECTED = `${JSON.stringify([true, 'given', 5, true])}\n`;

test('an image in a file', { skip }, async () => {
    const source = HERE('await Deno.readFile(Deno.args[0]!)');
    assert.equal(await deno(source, [`--allow-read=${IMAGE}`], IMAGE), EXPECTED);
});

test('an image in a file, by its address, in a worker', { skip }, async () => {
    const source = IN_WORKER('new URL(Deno.args[0]!)');
    assert.equal(await deno(source, [`--allow-read=${IMAGE}`], pathToFileURL(IMAGE)), EXPECTED);
});

test('a directory of files', async () => {
    const address = pathToFileURL(join(small, 'image.json'));
    assert.equal(await deno(HERE('Deno.args[0]!'), [`--allow-read=${small}`], address), EXPECTED);
});

test('a directory that a server has, in a worker and without one', async () => {
    const address = `${server.url}image.json`;
    const network = `--allow-net=${new URL(address).host}`;
    assert.equal(await deno(HERE('Deno.args[0]!'), [network], address), EXPECTED);
    assert.equal(await deno(IN_WORKER('Deno.args[0]!'), [network], address), EXPECTED);
});

test('what is not permitted is named', async () => {
    const address = `${server.url}image.json`;
    for (const source of [IN_WORKER, HERE].map((make) => make('Deno.args[0]!'))) {
        await assert.rejects(deno(source, [], address), /FetchError: .*image.json: .*net access to "127.0.0.1:\d+"/);
    }
});
