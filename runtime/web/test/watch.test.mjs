// A worker that does not answer.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Watch } from '../dist/watch.js';

const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

test('a worker that is silent is told of, once, and that it is back', async () => {
    const said = [];
    const watch = new Watch(() => said.push('ask'), (isSilent) => said.push(isSilent), 10);
    watch.expect();
    watch.expect();
    watch.heard();
    await later(60);
    assert.deepEqual(said.splice(0), ['ask']);
    watch.expect();
    await later(80);
    watch.expect();
    await later(80);
    assert.deepEqual(said.splice(0), ['ask', true]);
    watch.heard();
    watch.heard();
    assert.deepEqual(said.splice(0), [false]);
    watch.expect();
    watch.end();
    await later(60);
    assert.deepEqual(said, ['ask']);
});
