// The two kinds of pipes: order, ends, and who waits for whom.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Input, Output } from '../dist/pipe.js';

const text = (bytes) => new TextDecoder().decode(bytes);
const bytes = (string) => new TextEncoder().encode(string);
const later = () => new Promise((resolve) => setTimeout(resolve, 5));

test('input comes in order, in pieces of any size, and ends', async () => {
    let woken = 0;
    const input = new Input(() => woken++);
    const into = new Uint8Array(4);
    assert.equal(input.read(into), -1);
    const writer = input.stream.getWriter();
    const piece = bytes('abcdef');
    await writer.write(piece);
    // The writer may use its buffer again.
    piece.fill(0);
    assert.equal(woken, 1);
    assert.equal(input.read(into), 4);
    assert.equal(text(into), 'abcd');
    assert.equal(input.read(into), 2);
    assert.equal(text(into.subarray(0, 2)), 'ef');
    assert.equal(input.read(into), -1);
    await writer.close();
    assert.equal(woken, 2);
    assert.equal(input.read(into), 0);
});

test('who writes more than a container reads waits', async () => {
    const input = new Input(() => undefined);
    const writer = input.stream.getWriter();
    let written = false;
    const write = writer.write(new Uint8Array(300_000)).then(() => (written = true));
    await later();
    assert.equal(written, false);
    assert.equal(input.read(new Uint8Array(100_000)), 100_000);
    await write;
});

test('output waits for its reader, and tells of room', async () => {
    let woken = 0;
    const output = new Output(() => woken++);
    assert.equal(output.write(new Uint8Array(200_000)), 200_000);
    assert.equal(output.write(new Uint8Array(200_000)), 62_144);
    assert.equal(output.write(new Uint8Array(1)), 0);
    const reader = output.stream.getReader();
    const first = await reader.read();
    assert.equal(first.value.length, 262_144);
    assert.equal(woken, 1);
    const second = reader.read();
    assert.equal(output.write(bytes('more')), 4);
    assert.equal(text((await second).value), 'more');
    output.write(bytes('last'));
    output.end();
    assert.equal(text((await reader.read()).value), 'last');
    assert.equal((await reader.read()).done, true);
});

test('a reader that leaves is told to the container', async () => {
    const output = new Output(() => undefined);
    output.write(bytes('lost'));
    await output.stream.cancel();
    assert.equal(output.write(bytes('x')), -1);
});

test('input takes bytes of all kinds, and nothing else', async () => {
    const input = new Input(() => undefined);
    const writer = input.stream.getWriter();
    await writer.write(new Uint16Array([0x4241, 0x4443]));
    await writer.write(bytes('xyz').buffer);
    await writer.write(new DataView(bytes('123456').buffer, 2, 2));
    const into = new Uint8Array(20);
    assert.equal(text(into.subarray(0, input.read(into))), 'ABCDxyz34');
    await assert.rejects(writer.write('a text'), TypeError);
});

test('who writes to a container that has ended does not wait', async () => {
    const input = new Input(() => undefined);
    const writer = input.stream.getWriter();
    const write = writer.write(new Uint8Array(1_000_000));
    await later();
    input.end();
    await write;
    await writer.write(new Uint8Array(1_000_000));
    await writer.close();
});

test('an output that is cancelled while somebody waits for it ends in peace', async () => {
    const output = new Output(() => undefined);
    const reader = output.stream.getReader();
    const read = reader.read();
    await later();
    await reader.cancel();
    assert.deepEqual(await read, { done: true, value: undefined });
    assert.equal(output.write(bytes('x')), -1);
    output.end();
});
