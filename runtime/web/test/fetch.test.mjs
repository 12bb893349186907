// What servers answer in place of an image's files, and what is made of it.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import test from 'node:test';
import { constants, deflateRawSync, gzipSync } from 'node:zlib';
import { Fetcher } from '../dist/fetch.js';
import { ImageError, run } from '../dist/index.js';
import { Root } from '../dist/root.js';

/** A server of files, by name, each with its type and bytes; `others` stands for all that are not there. */
async function serve(context, files, others) {
    const server = createServer(({ url }, response) => {
        const [type, body] = files[url.slice(1)] ?? others ?? [];
        if (body === undefined) return response.writeHead(404).end();
        response.writeHead(200, { 'content-type': type }).end(body);
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    context.after(() => server.close());
    context.after(() => server.closeAllConnections());
    return new URL(`http://127.0.0.1:${server.address().port}/`);
}

/** The name of a piece of data, as the packer gives it. */
function named(bytes) {
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(bytes.length));
    return `data/${createHash('sha256').update(length).update(bytes).digest('hex').slice(0, 20)}.bin`;
}

/** Some hundred kilobytes of gzip that become so many megabytes. */
function explosive(megabytes) {
    const open = { level: 9, finishFlush: constants.Z_FULL_FLUSH };
    const block = deflateRawSync(Buffer.alloc(1 << 20), open);
    return Buffer.concat([gzipSync('').subarray(0, 10), ...Array(megabytes).fill(block)]);
}

const BINARY = 'application/octet-stream';
const PAGE = ['text/html; charset=utf-8', '<!-- an app -->\n<!DOCTYPE html><html><body>Not here</body></html>'];

test('a page in place of a file: the file is missing', async (context) => {
    const base = await serve(context, {}, PAGE);
    const missing = /answered with a page \(HTML\) in place of this file, which is missing.*copy all of the directory/;
    const fetcher = new Fetcher(base);
    const file = 'data/0123456789abcdef0123.bin';
    await assert.rejects(fetcher.unzipped(file, 1000), { name: 'FetchError', message: missing });
    await assert.rejects(fetcher.unzipped(file, 1000), /data\/0123456789abcdef0123.bin: the server/);
    const compile = async (response) => WebAssembly.compile(await response.arrayBuffer());
    await assert.rejects(fetcher.code('code-0.wasm', compile), { name: 'FetchError', message: missing });
    await assert.rejects(run({ image: new URL('image.json', base) }), { name: 'FetchError', message: missing });
    await assert.rejects(run({ image: new URL('debian.wasm', base) }), { name: 'FetchError', message: missing });
    // Whatever it says of itself.
    const other = await serve(context, {}, [BINARY, '\n<html lang="en">']);
    await assert.rejects(new Fetcher(other).unzipped(file, 1000), { name: 'FetchError', message: missing });
});

test('what is no page is damaged', async (context) => {
    const base = await serve(context, {}, ['text/html', 'neither this nor that']);
    const fetcher = new Fetcher(base);
    const file = 'data/0123456789abcdef0123.bin';
    await assert.rejects(fetcher.unzipped(file, 1000), /it is damaged.*not what its name says/);
    await assert.rejects(run({ image: new URL('image.json', base) }), /image.json: it is damaged or was cut off/);
});

test('data that does not become smaller', async (context) => {
    const plain = Buffer.from(Uint8Array.from({ length: 1 << 18 }, (_, at) => Math.imul(at, at ^ 0x9e3779b1) >>> 11));
    const stored = gzipSync(plain, { level: 0 });
    assert.ok(stored.length > plain.length);
    const base = await serve(context, { [named(stored)]: [BINARY, stored] });
    const found = await new Fetcher(base).unzipped(named(stored), plain.length);
    assert.ok(Buffer.from(found).equals(plain));
});

test('a bomb is one clear error, and takes no memory', async (context) => {
    const bomb = explosive(240);
    const large = Buffer.alloc(64 << 20, 1);
    const files = { [named(bomb)]: [BINARY, bomb], [named(large)]: [BINARY, large] };
    const base = await serve(context, files);
    globalThis.gc?.();
    const before = process.memoryUsage().rss;
    let loaded = 0;
    for (const file of Object.keys(files)) {
        const fetched = new Fetcher(base).unzipped(file, 1 << 18, (bytes) => (loaded += bytes));
        const message = /data\/[0-9a-f]+\.bin: it is damaged or was cut off \(it is larger than any file of an image\)/;
        await assert.rejects(fetched, { name: 'FetchError', message });
    }
    assert.equal(loaded, 0);
    const used = process.memoryUsage().rss - before;
    assert.ok(used < 128 << 20, `${used} bytes`);
});

test('a chunk is no larger than the others', async (context) => {
    const zipped = gzipSync(Buffer.alloc(100_000, 1));
    const base = await serve(context, { [named(zipped)]: [BINARY, zipped] });
    const manifest = { size: 1 << 17, chunk: 1 << 16, chunks: [named(zipped)] };
    const said = await new Promise((resolve) => {
        const notices = { wake: () => resolve('it came'), trouble: ({ message }) => resolve(message) };
        const root = new Root(manifest, new Map(), new Fetcher(base), notices);
        context.after(() => root.close());
        root.pread(0, [new Uint8Array(4096)]);
    });
    assert.match(said, /it is larger than any file of an image/);
});

test('an address that is relative, where there is no page', async () => {
    for (const image of ['debian.wasm', 'public/image.json']) {
        await assert.rejects(run({ image }), (error) => {
            assert.ok(error instanceof ImageError);
            return error.message.startsWith(`${image}: there is no page that this is relative to`);
        });
    }
});
