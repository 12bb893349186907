// The root file system of a directory: reads of what is there, what is fetched, and what cannot be.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Errno } from '../dist/abi.js';
import { Root } from '../dist/root.js';

const BLOCK = 4096;
const CHUNK = 4 * BLOCK;

/** A file system of 8 chunks, of which the third is zeros and the last is short. */
const chunks = ['c0', 'c1', '', 'c3', 'c4', 'c5', 'c6', 'c7'];
const contents = (number) => {
    const bytes = new Uint8Array(number === 7 ? CHUNK - 100 : CHUNK);
    return bytes.map((_, at) => (at * 7 + number * 31 + (at >> 8)) | 1);
};
const size = chunks.length * CHUNK;
const expected = new Uint8Array(size);
chunks.forEach((name, number) => name !== '' && expected.set(contents(number), number * CHUNK));

const later = (ms = 5) => new Promise((resolve) => setTimeout(resolve, ms));

function root({ first = new Map(), fail = () => false } = {}) {
    const log = { fetched: [], woken: 0, troubles: [] };
    const fetcher = {
        async unzipped(name) {
            log.fetched.push(name);
            await later(1);
            if (fail(name)) throw new Error(`no ${name}`);
            return contents(Number(name.slice(1)));
        },
    };
    const notices = {
        wake: () => log.woken++,
        trouble: (error) => log.troubles.push(error?.message ?? null),
    };
    return [new Root({ size, chunk: CHUNK, chunks }, first, fetcher, notices), log];
}

test('what is not there is fetched, once, and then read', async () => {
    const [disk, log] = root();
    const [a, b] = [new Uint8Array(1000), new Uint8Array(CHUNK)];
    assert.equal(disk.pread(CHUNK - 500, [a, b]), -Errno.AGAIN);
    assert.equal(disk.pread(CHUNK - 500, [a, b]), -Errno.AGAIN);
    await later(20);
    assert.deepEqual(log.fetched.filter((name) => name < 'c2').sort(), ['c0', 'c1']);
    assert.ok(log.woken >= 2);
    assert.equal(disk.pread(CHUNK - 500, [a, b]), 1000 + CHUNK);
    assert.deepEqual([...a, ...b], [...expected.subarray(CHUNK - 500, 2 * CHUNK + 500)]);
});

test('zeros and the end are not fetched', async () => {
    const [disk, log] = root();
    const into = new Uint8Array(CHUNK).fill(9);
    assert.equal(disk.pread(2 * CHUNK, [into]), CHUNK);
    assert.deepEqual(into, new Uint8Array(CHUNK));
    assert.deepEqual(log.fetched, []);
    disk.pread(size - BLOCK, [into.subarray(0, BLOCK)]);
    await later(20);
    assert.equal(disk.pread(size - BLOCK, [into.subarray(0, BLOCK)]), BLOCK);
    assert.deepEqual(into.subarray(0, BLOCK), expected.subarray(size - BLOCK));
    for (const [offset, length] of [[size, 1], [size - 1, 2], [-1, 1], [2 ** 53, 1], [NaN, 1]]) {
        assert.equal(disk.pread(offset, [into.subarray(0, length)]), -Errno.INVAL, String(offset));
    }
});

test('blocks that are there from the beginning need no chunk', async () => {
    const block = (number) => expected.slice(number * BLOCK, (number + 1) * BLOCK);
    const first = new Map([3, 4, 5].map((number) => [number, block(number)]));
    const [disk, log] = root({ first });
    const into = new Uint8Array(2 * BLOCK + 200);
    assert.equal(disk.pread(3 * BLOCK + 100, [into]), into.length);
    assert.deepEqual(into, expected.subarray(3 * BLOCK + 100, 5 * BLOCK + 300));
    assert.deepEqual(log.fetched, []);
    // One block beyond: the chunk is fetched, and what is read comes from both.
    const more = new Uint8Array(5 * BLOCK);
    assert.equal(disk.pread(3 * BLOCK, [more]), -Errno.AGAIN);
    await later(20);
    assert.equal(disk.pread(3 * BLOCK, [more]), more.length);
    assert.deepEqual(more, expected.subarray(3 * BLOCK, 8 * BLOCK));
});

test('random reads are those of the file', async () => {
    const first = new Map([[9, expected.slice(9 * BLOCK, 10 * BLOCK)]]);
    const [disk] = root({ first });
    let seed = 1;
    const random = (below) => (seed = (seed * 48271) % 0x7fffffff) % below;
    for (let n = 0; n < 300; n++) {
        const offset = random(size);
        const into = new Uint8Array(random(Math.min(3 * CHUNK, size - offset)));
        while (disk.pread(offset, [into]) < 0) await later(1);
        assert.deepEqual(into, expected.subarray(offset, offset + into.length), `${offset}+${into.length}`);
    }
});

test('what cannot be fetched is tried again, and told', async () => {
    let broken = true;
    const [disk, log] = root({ fail: () => broken });
    const into = new Uint8Array(10);
    assert.equal(disk.pread(5 * CHUNK, [into]), -Errno.AGAIN);
    await later(30);
    assert.deepEqual(log.troubles, ['no c5']);
    assert.equal(log.woken, 0);
    broken = false;
    await later(700);
    assert.deepEqual(log.troubles, ['no c5', null]);
    assert.equal(disk.pread(5 * CHUNK, [into]), 10);
    // Nothing goes on after the end.
    broken = true;
    disk.pread(0, [into]);
    await later(30);
    disk.close();
    const tries = log.fetched.length;
    await later(700);
    assert.equal(log.fetched.length, tries);
});
