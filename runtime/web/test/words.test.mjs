// Words of a line, as a shell has them.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import test from 'node:test';
import { words } from '../dist/words.js';

test('words are those of sh', () => {
    for (const line of [
        '',
        '  ',
        'a',
        ' python3  -c "print(1 + 1)" ',
        `sh -c 'echo "a b" c'`,
        `a'b'"c"d ''  ""`,
        'a\\ b "c\\"d" "e\\f" \'g\\h\' \\\\',
        "it\\'s",
    ]) {
        const script = `for word in ${line}; do printf '%s\\0' "$word"; done`;
        const expected = execFileSync('sh', ['-c', script]).toString().split('\0').slice(0, -1);
        assert.deepEqual(words(line), expected, line);
    }
    assert.deepEqual(words('a "b c'), ['a', 'b c']);
});
