// The npm package as its users have it: packed, installed in an empty directory, tested and compiled against
// there.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { TOP, work } from './temporary.mjs';

const IMAGE = process.env.FORELIFT_IMAGE;
const PACKAGE = join(TOP, 'runtime/web');
const user = join(work, 'user');
// A test runner below this one would report to it.
const { NODE_TEST_CONTEXT: _, ...env } = process.env;

/** Runs a program; what it prints, or an error with that. */
function run(program, args, cwd = user, more = {}) {
    try {
        return execFileSync(program, args, { cwd, env: { ...env, ...more }, encoding: 'utf8' });
    } catch (error) {
        throw new Error(`${program} ${args.join(' ')}: ${error.stdout}${error.stderr}`);
    }
}

test('it is packed and installed, and passes its own tests there', () => {
    mkdirSync(user);
    const [{ filename, files }] = JSON.parse(run('npm', ['pack', '--json', '--pack-destination', user], PACKAGE));
    const paths = files.map(({ path }) => path);
    assert.ok(paths.includes('dist/index.d.ts') && paths.includes('dist/worker.js'), paths.join(' '));
    assert.ok(!paths.some((path) => /page|panel|styles|node_modules/.test(path)), paths.join(' '));
    writeFileSync(join(user, 'package.json'), '{ "private": true, "type": "module" }');
    run('npm', ['install', '--offline', '--no-audit', '--no-fund', join(user, filename)]);
    const installed = join(user, 'node_modules/forelift');
    assert.deepEqual(JSON.parse(readFileSync(join(installed, 'package.json'))).dependencies ?? {}, {});
    const tests = paths.filter((path) => /^test\/.*\.test\.mjs$/.test(path)).map((path) => join(installed, path));
    const said = run('node', ['--test', ...tests]);
    const [, passed] = /^# pass (\d+)/m.exec(said);
    assert.ok(Number(passed) >= 30, said);
});

test('its example of a test passes', { skip: IMAGE === undefined && 'NOT TESTED: set FORELIFT_IMAGE' }, () => {
    const file = join(user, 'command.test.mjs');
    cpSync(join(user, 'node_modules/forelift/examples/command.test.mjs'), file);
    const said = run('node', ['--test', file], user, { IMAGE });
    assert.match(said, /^# pass 2$/m);
});

test('its types are those of strict TypeScript', () => {
    const source = `
        import { Directory, ImageError, run, type Container } from 'forelift';
        import { RemoteDirectory, run as runInWorker } from 'forelift/worker';

        export async function main(): Promise<number> {
            const data = new Directory();
            data.write('a', 'text');
            const one: Container = await run({ image: 'image.json', tty: { rows: 24, cols: 80 }, directories: { '/a': data } });
            const other = await runInWorker({ image: 'image.wasm', directories: { '/b': new RemoteDirectory() } });
            one.kill('SIGTERM');
            const text: string = await new Response(other.stdout).text();
            if (text === '') throw new ImageError('nothing');
            return one.exited;
        }
    `;
    const options = ['--strict', '--noEmit', '--target', 'es2022', '--module', 'nodenext', '--lib', 'es2022,dom', '--skipLibCheck', 'false'];
    const tsc = join(PACKAGE, 'node_modules/.bin/tsc');
    assert.ok(existsSync(tsc));
    writeFileSync(join(user, 'main.ts'), source);
    run(tsc, [...options, 'main.ts']);
    writeFileSync(join(user, 'wrong.ts'), `import { run } from 'forelift'; await run({ image: 'x', args: 'not a list' });`);
    assert.throws(() => run(tsc, [...options, 'wrong.ts']), /wrong.ts.*error TS2322/);
});
