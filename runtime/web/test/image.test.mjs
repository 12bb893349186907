// Directories in a container. Needs an image that has a shell, for it takes one to be converted:
//
//     forelift convert --lift none tar:busybox.tar busybox.wasm
//     FORELIFT_IMAGE=busybox.wasm npm test

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { Directory, run } from '../dist/index.js';

const IMAGE = process.env.FORELIFT_IMAGE;
const options = {
    skip: IMAGE === undefined && 'NOT TESTED: set FORELIFT_IMAGE to an image with a shell',
    timeout: 120_000,
};
const text = (bytes) => new TextDecoder().decode(bytes);

/** Starts a script; `line` gives the next line of its output, `tell` writes one to its input. */
async function start(context, script, directories) {
    const container = await run({ image: readFileSync(IMAGE), args: ['sh', '-c', script], directories });
    context.after(() => container.destroy());
    const [reader, writer] = [container.stdout.getReader(), container.stdin.getWriter()];
    let rest = '';
    const line = async () => {
        for (;;) {
            const end = rest.indexOf('\n');
            if (end >= 0) {
                const first = rest.slice(0, end);
                rest = rest.slice(end + 1);
                return first;
            }
            const { done, value } = await reader.read();
            assert.ok(!done, `the output ends with ${JSON.stringify(rest)}`);
            rest += text(value);
        }
    };
    const tell = (words) => writer.write(new TextEncoder().encode(`${words}\n`));
    return { line, tell, exited: container.exited };
}

test('a page and a container change the same files in turn', options, async (context) => {
    const data = new Directory();
    data.write('in/f', 'first');
    let told = 0;
    data.onchange = () => (told += 1);
    const script = 'cd /data; while read -r what; do eval "$what"; echo; done';
    const { line, tell, exited } = await start(context, script, { '/data': data });
    const sh = async (what) => {
        await tell(what);
        return line();
    };
    assert.equal(await sh('cat in/f'), 'first');
    assert.equal(told, 0);
    // Of the same length, and at once: only the time tells.
    for (let nth = 0; nth < 20; nth += 1) {
        data.write('in/f', `${100 + nth}`);
        assert.equal(await sh('cat in/f'), `${100 + nth}`);
    }
    assert.equal(await sh('mkdir out; printf guest > out/g; rm -r in'), '');
    assert.equal(text(data.read('out/g')), 'guest');
    assert.equal(data.stat('in'), null);
    await new Promise((resolve) => setTimeout(resolve, 150));
    assert.ok(told >= 1 && told <= 5, `${told} times`);
    assert.equal(await sh('exec 3<out/g'), '');
    data.remove('out');
    assert.equal(await sh('cat <&3; ls | wc -l | tr -d "\\n"'), 'guest0');
    data.mkdir('made');
    data.symlink('made', 'link');
    assert.equal(await sh('ls | tr "\\n" " "; readlink link | tr -d "\\n"'), 'link made made');
    await tell('exit 7');
    assert.equal(await exited, 7);
});

test('eight directories, one of them read-only', options, async (context) => {
    const all = Array.from({ length: 8 }, () => new Directory());
    all.forEach((directory, nth) => directory.write('number', `${nth}`));
    const mounts = all.map((directory, nth) => [
        `/m/${nth}`,
        nth === 5 ? { directory, readOnly: true } : directory,
    ]);
    const script =
        'for n in $(seq 0 7); do cat /m/$n/number; touch /m/$n/new 2>&- || echo -n -; done; echo';
    const { line, exited } = await start(context, script, Object.fromEntries(mounts));
    assert.equal(await line(), '012345-67');
    assert.equal(await exited, 0);
    assert.deepEqual(
        all.map((directory) => directory.stat('new')?.size),
        [0, 0, 0, 0, 0, undefined, 0, 0],
    );
});
