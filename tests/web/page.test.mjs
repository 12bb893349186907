// The page of `forelift convert --web` in browsers: a container opens, answers, ends.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { BROWSERS, cpu, launch, sleep, until } from './browsers.mjs';
import { FORELIFT, web, work } from './images.mjs';
import { PATIENCE, SCREEN, click, message, note, open, reaches, shows, state } from './look.mjs';
import { serve } from './serve.mjs';
import { TOP } from './temporary.mjs';

/** The headers that other projects' pages need. */
const ISOLATED = {
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-embedder-policy': 'require-corp',
};

/** Where the server has the npm package's modules. */
const PACKAGE = '/package/';
const DIST = join(TOP, 'runtime/web/dist');
/** Runs something in the page with a module of the npm package. */
const program = (file, body) => `(async () => {
    const { run } = await import('${PACKAGE}${file}');
    ${body}
})()`;

let small;
before(() => {
    small = web('minbase').dir;
});

for (const name of BROWSERS) {
    describe(name, () => {
        let browser;
        let server;
        before(async () => {
            browser = await launch(name);
            server = await serve(small, { also: { [PACKAGE]: DIST } });
        });
        after(async () => {
            await browser?.close();
            await server?.close();
        });

        test('a shell opens, answers, sees the size of the terminal, and ends', async () => {
            const page = await open(browser, server.url);
            assert.equal(await state(page), 'running');
            await page.type('echo $((6 * 7)) $TERM; stty size\n');
            const screen = await shows(page, /42 xterm-256color\n\d+ \d+\n/);
            const [, rows, cols] = /\n(\d+) (\d+)\n/.exec(screen);
            const size = await page.evaluate('[forelift.terminal.rows, forelift.terminal.cols]');
            assert.deepEqual([Number(rows), Number(cols)], size);
            await page.resize(700, 500);
            await until(() => page.evaluate(`forelift.terminal.cols !== ${cols}`), PATIENCE);
            await page.type('clear; stty size\n');
            const smaller = await page.evaluate('[forelift.terminal.rows, forelift.terminal.cols]');
            await shows(page, new RegExp(`^${smaller.join(' ')}\\n`, 'm'));
            await page.type('exit 3\n');
            await reaches(page, 'ended');
            assert.equal(await note(page), 'ended with status 3');
            await page.resize(1000, 700);
            await page.close();
        });

        test('Ctrl-C, and Reset', async () => {
            const page = await open(browser, server.url);
            await page.type('sleep 1000\n');
            await shows(page, /sleep 1000$/);
            await page.press('c', 'Control');
            await shows(page, /\^C/);
            await page.type('echo status $?\n');
            await shows(page, /status 130\n/);
            await page.type('touch /new; echo done\n');
            await shows(page, /^done$/m);
            await click(page, 'reset');
            await until(async () => !/done/.test(await page.evaluate(SCREEN)), PATIENCE);
            await shows(page, /[#$]$/);
            await page.type('ls /new; echo gone\n');
            await shows(page, /cannot access '\/new'[^]*^gone$/m);
            await page.close();
        });

        test('command and environment from the address', async () => {
            const page = await browser.open();
            const query = new URLSearchParams({ cmd: `sh -c 'echo "[$A]"; exit 4'`, env: 'A=b c' });
            await page.goto(`${server.url}?${query}`);
            await reaches(page, 'ended');
            assert.match(await page.evaluate(SCREEN), /^\[b c\]$/m);
            assert.equal(await note(page), 'ended with status 4');
            await page.close();
        });

        const ways = ['step', 'jspi'].flatMap((mode) => ['index.js', 'worker.js'].map((file) => [mode, file]));
        for (const [mode, file] of ways) {
            test(`bytes through ${file} by ${mode}, and two containers at once`, async () => {
                const page = await browser.open();
                await page.goto(`${server.url}?cmd=true`);
                await reaches(page, 'ended');
                // WebKit 2.50 has no JSPI, and says so.
                const lacks = mode === 'jspi' && !(await page.evaluate(`'Suspending' in WebAssembly`));
                assert.equal(lacks, mode === 'jspi' && name === 'webkit');
                const result = page.evaluate(program(file, `
                    const image = new URL('image.json', document.baseURI).href;
                    const mode = '${mode}';
                    const data = new Uint8Array(3_000_000).map((_, at) => (at * 31) ^ (at >> 8));
                    const one = await run({ image, mode, args: ['sh', '-c', 'cat; echo no >&2; exit 7'] });
                    const script = 'sleep 0.5; i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done; exit 9';
                    const other = await run({ image, mode, args: ['sh', '-c', script], stdin: false });
                    const writer = one.stdin.getWriter();
                    const written = writer.write(data).then(() => writer.close());
                    const out = new Uint8Array(await new Response(one.stdout).arrayBuffer());
                    const err = await new Response(one.stderr).text();
                    await written;
                    return {
                        same: out.length === data.length && out.every((byte, at) => byte === data[at]),
                        length: out.length,
                        err,
                        status: await one.exited,
                        other: await other.exited,
                        ended: await one.exited.then(() => true),
                    };
                `));
                if (lacks) {
                    await assert.rejects(result, /this browser has no JSPI/);
                } else {
                    const expected = { same: true, length: 3_000_000, err: 'no\n', status: 7, other: 9, ended: true };
                    assert.deepEqual(await result, expected);
                }
                await page.close();
            });
        }

        test('files go in and out', async () => {
            const page = await open(browser, server.url);
            await page.evaluate(`(() => {
                document.getElementById('files').click();
                const given = new DataTransfer();
                given.items.add(new File(['from the page\\n'], 'a b.txt'));
                const input = document.getElementById('add');
                input.files = given.files;
                input.dispatchEvent(new Event('change'));
            })()`);
            await until(async () => /a b.txt: in \/mnt/.test(await note(page)), PATIENCE, () => note(page));
            await page.type('cat /mnt/a*; mkdir /mnt/d; seq 3 > /mnt/d/out\n');
            await shows(page, /^from the page$/m);
            const list = () => page.evaluate(`document.getElementById('list').innerText`);
            await until(async () => /a b.txt 14 bytes\s+d\/out 6 bytes/.test(await list()), PATIENCE, list);
            // What a click on the name hands to the browser to be saved.
            const saved = await page.evaluate(`new Promise((resolve) => {
                const make = URL.createObjectURL;
                URL.createObjectURL = (blob) => {
                    blob.text().then(resolve);
                    URL.createObjectURL = make;
                    return make.call(URL, blob);
                };
                document.querySelector('[title="Download d/out"]').click();
            })`);
            assert.equal(saved, '1\n2\n3\n');
            await page.close();
        });

        test('directories of a container in a worker', async () => {
            const page = await browser.open();
            await page.goto(`${server.url}?cmd=true`);
            await reaches(page, 'ended');
            const found = await page.evaluate(program('worker.js', `
                const { RemoteDirectory } = await import('${PACKAGE}worker.js');
                const image = new URL('image.json', document.baseURI).href;
                const [data, fixed] = [new RemoteDirectory(), new RemoteDirectory()];
                const early = data.write('in/a', 'early');
                const one = await run({
                    image,
                    args: ['sh', '-c', 'cat /data/in/a; echo out > /data/b; echo no > /fixed/x; echo $?'],
                    directories: { '/data': data, '/fixed': { directory: fixed, readOnly: true } },
                });
                await early;
                const out = await new Response(one.stdout).text();
                const status = await one.exited;
                const after = new TextDecoder().decode(await data.read('b'));
                const missing = await data.read('none').catch(({ name, code, message }) => [name, code, message]);
                one.destroy();
                const gone = await data.list().catch(({ name }) => name);
                return [out, status, after, missing, gone];
            `));
            const missing = ['FileError', 'ENOENT', '"none": there is no such file or directory'];
            assert.deepEqual(found, ['early2\n', 0, 'out\n', missing, 'WorkerError']);
            await page.close();
        });

        const modes = name === 'webkit' ? ['step'] : ['step', 'jspi'];
        for (const mode of modes) {
            test(`a container is stopped, signalled, destroyed (${mode})`, async () => {
                const page = await browser.open();
                await page.goto(`${server.url}?cmd=true`);
                await reaches(page, 'ended');
                const found = await page.evaluate(program('worker.js', `
                    const image = new URL('image.json', document.baseURI).href;
                    const mode = '${mode}';
                    const start = () => run({ image, mode, args: ['sh', '-c', 'trap "exit 5" USR1; echo up; while :; do sleep 0.05; done'] });
                    const ready = async (one) => {
                        const reader = one.stdout.getReader();
                        await reader.read();
                        return one;
                    };
                    const [a, b, c] = await Promise.all([start(), start(), start()].map((one) => one.then(ready)));
                    a.kill('SIGUSR1');
                    b.kill('SIGKILL');
                    c.destroy();
                    const missing = await run({ image, mode, args: ['no-such-program'] });
                    return Promise.all([a.exited, b.exited, c.exited, missing.exited]);
                `));
                assert.deepEqual(found, [5, 137, 137, 127]);
                await page.close();
            });
        }

        test('with the headers of an isolated page', async () => {
            const isolated = await serve(small, { headers: ISOLATED, brotli: true });
            const page = await open(browser, isolated.url);
            assert.equal(await page.evaluate('crossOriginIsolated'), true);
            await page.type('echo $((6 * 7))\n');
            await shows(page, /^42$/m);
            await page.close();
            await isolated.close();
        });
    });
}

describe('the examples of the npm package', () => {
    let browser;
    let server;
    before(async () => {
        const dir = join(work, 'examples');
        mkdirSync(dir);
        symlinkSync(join(TOP, 'runtime/web'), join(dir, 'package'));
        symlinkSync(small, join(dir, 'small'));
        symlinkSync(web('python3', { args: 'sh', options: ['--train', 'python3 -c pass'] }).dir, join(dir, 'python'));
        browser = await launch('chromium');
        server = await serve(dir);
    });
    after(async () => {
        await browser?.close();
        await server?.close();
    });

    test('two containers side by side', async () => {
        const page = await browser.open();
        await page.goto(`${server.url}package/examples/two.html?image=/small/image.json`);
        await until(async () => (await state(page)) === 'ready', PATIENCE);
        await page.evaluate(`(() => {
            document.getElementById('line').value = 'echo $NAME $((6 * 7)); exit 3';
            document.querySelector('button').click();
        })()`);
        for (const name of ['left', 'right']) {
            const text = () => page.evaluate(`document.getElementById('${name}').textContent`);
            await until(async () => (await text()) === `${name} 42\n[ended with status 3]`, PATIENCE, text);
        }
        await page.close();
    });

    test('a notebook', async () => {
        const page = await browser.open();
        await page.goto(`${server.url}package/examples/notebook.html?image=/python/image.json`);
        const look = (expression) => page.evaluate(`document.${expression}`);
        await until(async () => (await look(`getElementById('note').textContent`)) === 'Ready', PATIENCE);
        await look(`getElementById('new').click()`);
        const first = 'import math\nx = math.factorial(20)\nprint("kept")';
        const cells = [first, 'x // 1000 + undefined', 'x // 1000'];
        await look(`getElementById('new').click()`);
        for (const [nth, code] of cells.entries()) {
            await look(`querySelectorAll('textarea')[${nth}].value = ${JSON.stringify(code)}`);
            await look(`querySelectorAll('section button')[${nth}].click()`);
        }
        const outputs = () => look(`getElementById('cells').innerText`);
        await until(async () => /kept[^]*NameError[^]*2432902008176640/.test(await outputs()), PATIENCE, outputs);
        await page.close();
    });
});

describe('a page that is left alone', () => {
    let browser;
    let server;
    before(async () => {
        browser = await launch('chromium');
        server = await serve(small, { also: { [PACKAGE]: DIST } });
    });
    after(async () => {
        await browser?.close();
        await server?.close();
    });

    /**
     * Waits until the browser uses at most so many seconds of processor time in three of the clock: it has
     * work of its own for a while, more so on a slow machine.
     */
    async function comesToRest(most) {
        let used;
        const look = async () => {
            const before = cpu(browser.process.pid);
            await sleep(3000);
            used = cpu(browser.process.pid) - before;
            return used <= most;
        };
        await until(look, PATIENCE, () => `${used} s of 3 s`);
    }

    test('an idle shell and ten containers leave the processor alone; destroyed, they are gone', async () => {
        const page = await open(browser, server.url);
        await comesToRest(0.6);
        await page.evaluate(program('worker.js', `
            const image = new URL('image.json', document.baseURI).href;
            globalThis.ten = await Promise.all(Array.from({ length: 10 }, () => run({ image, args: ['cat'] })));
        `));
        assert.equal(page.page.workers().length, 11);
        await comesToRest(1.2);
        await page.evaluate('ten.forEach((one) => one.destroy())');
        await until(() => page.page.workers().length === 1, PATIENCE);
        await page.close();
    });

    test('a hidden tab goes on', async () => {
        const page = await open(browser, server.url);
        const other = await browser.open();
        await other.page.bringToFront();
        assert.equal(await page.evaluate('document.visibilityState'), 'hidden');
        await page.evaluate(`forelift.container() !== null`);
        await page.type('for n in 1 2 3; do sleep 0.5; echo n$n; done\n');
        await shows(page, /^n1\nn2\nn3$/m);
        await other.close();
        await page.close();
    });

    test('a private window, and an origin without room', async () => {
        const page = await browser.open({ isPrivate: true });
        await page.goto(server.url);
        await shows(page, /[#$]$/);
        await page.close();
        const full = await browser.open();
        const devtools = await full.page.createCDPSession();
        const { origin } = new URL(server.url);
        await devtools.send('Storage.clearDataForOrigin', { origin, storageTypes: 'all' });
        await devtools.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 1000 });
        await full.goto(server.url);
        await shows(full, /[#$]$/);
        await devtools.send('Storage.overrideQuotaForOrigin', { origin });
        await full.close();
    });
});

test('the network of a relay', async () => {
    const server = await serve(small);
    const origin = new URL(server.url);
    const options = ['--listen', 'ws://127.0.0.1:0/', '--allow-origin', origin.origin, '--net-host-loopback'];
    const relay = spawn(FORELIFT, ['net-relay', ...options], { stdio: ['ignore', 'ignore', 'pipe'] });
    const browser = await launch('chromium');
    try {
        let said = '';
        relay.stderr.on('data', (chunk) => (said += chunk));
        const [, address] = await until(() => /listening on (\S+)/.exec(said), PATIENCE, () => said);
        const page = await browser.open();
        await page.goto(`${server.url}?${new URLSearchParams({ net: address })}`);
        await shows(page, /[#$]$/);
        const ask = `printf 'GET /NOTICE HTTP/1.0\\r\\n\\r\\n' >&3`;
        await page.type(`exec 3<>/dev/tcp/host.forelift.internal/${origin.port}; ${ask}; head -1 <&3\n`);
        await shows(page, /^HTTP\/1.1 200 OK/m);
        // Nobody is there.
        relay.kill();
        const refused = await browser.open();
        await refused.goto(`${server.url}?net=ws://127.0.0.1:9/`);
        await reaches(refused, 'failed');
        assert.match(await message(refused), /ws:\/\/127.0.0.1:9\/ cannot be reached.*--allow-origin/);
        // A link cannot have the container read what the page's site gives.
        const denied = await browser.open();
        await denied.goto(`${server.url}?net=fetch`);
        await reaches(denied, 'failed');
        assert.match(await message(denied), /net=fetch: this page was made without it/);
    } finally {
        relay.kill();
        await browser.close();
        await server.close();
    }
});

for (const name of ['chromium', 'firefox']) {
    test(`without a network, after a visit with one (${name})`, async () => {
        const browser = await launch(name);
        const server = await serve(small);
        const page = await open(browser, server.url);
        await until(() => page.evaluate(`document.body.dataset.kept === 'yes'`), PATIENCE);
        await page.type('ls -l /usr/bin/bash\n');
        await shows(page, /^-rwx.*bash$/m);
        await page.close();
        await server.close();
        const again = await open(browser, server.url);
        await again.type('ls -l /usr/bin/bash; echo $((6 * 7))\n');
        await shows(again, /^42$/m);
        await browser.close();
    });
}

test('a large image opens without being downloaded, and is kept', async () => {
    const { dir, said } = web('python3', { args: 'sh' });
    const server = await serve(dir);
    const browser = await launch('chromium');
    const page = await open(browser, server.url);
    const opened = server.bytes();
    assert.ok(said.web.total > 30e6, `${said.web.total} bytes in all`);
    assert.ok(opened < said.web.total / 2, `${opened} of ${said.web.total} bytes to open`);
    await page.type(`python3 -c 'import json, decimal; print(json.dumps(str(decimal.Decimal(2) ** 200)))'\n`);
    await shows(page, /^"1.606938044258990275541962092E\+60"$/m);
    // What has come is kept behind the scenes.
    await sleep(2000);
    const all = server.bytes();
    assert.ok(all < said.web.total, `${all} of ${said.web.total} bytes for python`);
    await page.close();
    const again = await open(browser, server.url);
    const data = server.requests.slice(-50).filter((path) => path.includes('/data/'));
    const before = server.requests.length;
    await again.type('echo $((6 * 7))\n');
    await shows(again, /^42$/m);
    assert.ok(server.bytes() - all < opened / 2, `${server.bytes() - all} bytes the second time (${data}, ${before})`);
    await browser.close();
    await server.close();
});
