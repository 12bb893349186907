// What a page sends to a container's worker about its directories.

import assert from 'node:assert/strict';
import test from 'node:test';
import { RemoteDirectory } from '../dist/remote.js';

/** A directory whose questions are kept as a worker would get them. */
function asked() {
    const directory = new RemoteDirectory();
    const questions = [];
    const ask = async (...question) => void questions.push(structuredClone(question.flat()));
    const attach = () => directory.attach(ask);
    return { directory, questions, attach };
}

test('of a view into a large buffer only its bytes are sent', async () => {
    const { directory, questions, attach } = asked();
    attach();
    const buffer = new ArrayBuffer(1 << 20);
    const view = new Uint8Array(buffer, 1000, 3);
    view.set([1, 2, 3]);
    await directory.write('a', view);
    await directory.write('b', Buffer.from(buffer).subarray(1001, 1003));
    await directory.write('c', new Uint8Array(buffer));
    await directory.write('d', 'text');
    const [a, b, c, d] = questions;
    assert.deepEqual([[...a[2]], a[2].buffer.byteLength], [[1, 2, 3], 3]);
    assert.deepEqual([[...b[2]], b[2].buffer.byteLength], [[2, 3], 2]);
    assert.equal(c[2].buffer.byteLength, 1 << 20);
    assert.deepEqual(d, ['write', 'd', 'text']);
});

test('memory that is shared is sent as it is now, and is not shared', async () => {
    const { directory, questions, attach } = asked();
    attach();
    const shared = new Uint8Array(new SharedArrayBuffer(4)).fill(7);
    await directory.write('a', shared);
    shared.fill(8);
    assert.deepEqual([...questions[0][2]], [7, 7, 7, 7]);
    assert.ok(questions[0][2].buffer instanceof ArrayBuffer);
});

test('what is written before there is a container is what it was then', async () => {
    const { directory, questions, attach } = asked();
    const bytes = Uint8Array.of(1, 2);
    const written = directory.write('a', bytes);
    bytes.fill(9);
    attach();
    await written;
    assert.deepEqual([...questions[0][2]], [1, 2]);
});
