// Words that the module and its host exchange, as runtime/abi has them.

import assert from 'node:assert/strict';
import test from 'node:test';
import { record, step } from '../dist/abi.js';
import { ImageError, run } from '../dist/index.js';

test('what a step gives', () => {
    assert.deepEqual(step(0n), { kind: 'again' });
    assert.deepEqual(step((1n << 56n) | 8_500_000n), { kind: 'idle', ms: 8.5 });
    assert.deepEqual(step((2n << 56n) - 1n), { kind: 'idle', ms: Infinity });
    assert.deepEqual(step((2n << 56n) | 137n), { kind: 'ended', status: 137 });
    assert.throws(() => step(-1n), /older than the image/);
});

test('records', () => {
    assert.deepEqual(record({ kind: 'signal', number: 15 }), [1, 15, 0, 0]);
    assert.deepEqual(record({ kind: 'stop' }), [2, 0, 0, 0]);
    assert.deepEqual(record({ kind: 'resize', rows: 24.9, cols: 1e6 }), [3, 24, 65535, 0]);
    assert.deepEqual(record({ kind: 'terminal', tty: true, raw: true, rows: 0, cols: -1 }), [4, 3, 0, 0]);
});

test('what is no image is one clear error', async () => {
    const empty = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
    await assert.rejects(run({ image: empty }), { name: 'ImageError', message: /no image that can be run in steps/ });
    await assert.rejects(run({ image: empty.subarray(0, 6) }), ImageError);
    await assert.rejects(run({ image: new Response('', { status: 404 }) }), { name: 'ImageError', message: /404/ });
});
