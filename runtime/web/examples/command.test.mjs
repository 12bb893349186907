// A test that runs a command of an image and looks at what it prints:
//
//     IMAGE=debian.wasm node --test command.test.mjs

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import test from 'node:test';
import { Directory, run } from 'forelift';

const image = await WebAssembly.compile(await readFile(process.env.IMAGE));

test('sort sorts', async () => {
    const data = new Directory();
    data.write('fruits', 'pear\napple\nfig\n');
    const container = await run({ image, args: ['sort', '/data/fruits'], directories: { '/data': data } });
    assert.equal(await new Response(container.stdout).text(), 'apple\nfig\npear\n');
    assert.equal(await container.exited, 0);
});

test('a command that fails says so', async () => {
    const container = await run({ image, args: ['ls', '/none'], stdin: false });
    const said = await new Response(container.stderr).text();
    assert.match(said, /No such file or directory/);
    assert.notEqual(await container.exited, 0);
});
