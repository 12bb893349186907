// What can go wrong with the page of `forelift convert --web`, and that it says so.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { cpSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { constants, deflateRawSync, gzipSync } from 'node:zlib';
import { launch, sleep, until } from './browsers.mjs';
import { web, work } from './images.mjs';
import { PATIENCE, SCREEN, click, message, note, open, reaches, shows, state } from './look.mjs';
import { serve } from './serve.mjs';

let small;
before(() => {
    small = web('minbase').dir;
});

describe('what goes wrong', () => {
    let browser;
    before(async () => {
        browser = await launch('chromium');
    });
    after(() => browser?.close());

    /** Opens the page of a server with a fault; what it says. */
    async function fails(options, dir = small) {
        const server = await serve(dir, options);
        const page = await browser.open();
        await page.goto(server.url);
        await reaches(page, 'failed');
        const said = await message(page);
        return { page, server, said };
    }

    /** A copy of the directory, changed. */
    function changed(name, change) {
        const dir = join(work, name);
        cpSync(small, dir, { recursive: true });
        const path = join(dir, 'image.json');
        const image = JSON.parse(readFileSync(path, 'utf8'));
        writeFileSync(path, change(image, dir) ?? JSON.stringify(image));
        return dir;
    }

    test('a file that is missing is named, and after it has come the page goes on', async () => {
        let isBroken = true;
        const trouble = (path) => (isBroken && path.endsWith('.wasm') ? 'missing' : null);
        const { page, server, said } = await fails({ trouble });
        assert.match(said, /code-[0-9a-f]+\.wasm: 404.*copy all of the directory/);
        isBroken = false;
        await click(page, 'again');
        await shows(page, /[#$]$/);
        await page.close();
        await server.close();
    });

    test('what was cut off, and what the browser keeps of it', async () => {
        for (const part of ['/data/', 'code-']) {
            for (const what of ['cut', 'broken', 'missing']) {
                let isBroken = true;
                const trouble = (path) => (isBroken && path.includes(part) ? what : null);
                const headers = { 'cache-control': 'max-age=31536000, immutable' };
                const { page, server, said } = await fails({ trouble, headers });
                const names = /(data\/|code-)[0-9a-f]+\.\w+: (it is damaged or was cut off|it cannot be fetched|404)/;
                assert.match(said, names, `${part} ${what}`);
                isBroken = false;
                await click(page, 'again');
                await shows(page, /[#$]$/);
                await page.close();
                await server.close();
            }
        }
    });

    test('a file that is another than its name says', async () => {
        const dir = changed('swapped', (image, dir) => {
            const [one, other] = image.memory.map(({ file }) => join(dir, file));
            cpSync(other, one);
        });
        const { page, server, said } = await fails({}, dir);
        assert.match(said, /data\/[0-9a-f]+\.bin: it is damaged.*not what its name says/);
        await page.close();
        await server.close();
    });

    test('data that becomes far larger than it may', async () => {
        const dir = changed('bomb', (image, dir) => {
            const open = { level: 9, finishFlush: constants.Z_FULL_FLUSH };
            const block = deflateRawSync(Buffer.alloc(1 << 20), open);
            const bomb = Buffer.concat([gzipSync('').subarray(0, 10), ...Array(4000).fill(block)]);
            const length = Buffer.alloc(8);
            length.writeBigUInt64LE(BigInt(bomb.length));
            const digest = createHash('sha256').update(length).update(bomb).digest('hex').slice(0, 20);
            const piece = { file: `data/${digest}.bin`, size: bomb.length };
            writeFileSync(join(dir, piece.file), bomb);
            image.memory[0] = piece;
            image.files.push(piece.file);
        });
        const { page, server, said } = await fails({}, dir);
        assert.match(said, /data\/[0-9a-f]+\.bin: it is damaged.*larger than any file of an image/);
        await page.close();
        await server.close();
    });

    test('a server that has its own page for what is missing', async () => {
        for (const part of ['/data/', 'code-', 'image.json', 'worker_main.js']) {
            let isBroken = true;
            const trouble = (path) => (isBroken && path.includes(part) ? 'page' : null);
            const { page, server, said } = await fails({ trouble });
            const expected =
                part === 'worker_main.js'
                    ? /the container's worker has failed.*: start the container anew, or reload the page/
                    : new RegExp(`${part}.*: the server answered with a page \\(HTML\\).*missing there.*copy all of the directory`);
            assert.match(said, expected, part);
            isBroken = false;
            await click(page, 'again');
            await shows(page, /[#$]$/);
            await page.close();
            await server.close();
        }
        // Not one of the programs is there.
        const { page, server, said } = await fails({ trouble: (path) => (/app-.*\.m?js$/.test(path) && !path.endsWith('load.js') ? 'page' : null) });
        assert.match(said, /programs of this page cannot be loaded: copy all of the directory/);
        await page.close();
        await server.close();
    });

    test('a directory without its programs says so itself', async () => {
        const server = await serve(small, { trouble: (path) => (path.includes('/app-') ? 'missing' : null) });
        const page = await browser.open();
        await page.goto(server.url);
        assert.match(await page.evaluate('document.body.innerText'), /programs of this page cannot be loaded: copy all of the directory/);
        await page.close();
        await server.close();
    });

    test('a command that is not there, and a program of the page that is not', async () => {
        const server = await serve(small);
        const page = await browser.open();
        await page.goto(`${server.url}?cmd=no-such-program`);
        await reaches(page, 'ended');
        assert.match(await page.evaluate(SCREEN), /forelift: .*no-such-program.*not found/);
        assert.equal(await note(page), 'ended with status 127');
        await page.close();
        await server.close();
        for (const [name, words] of [['/page.js', /programs of this page cannot be loaded: copy all of the directory/], ['/worker_main.js', /worker has failed/]]) {
            const { page: other, server: lacking, said } = await fails({ trouble: (path) => (path.endsWith(name) ? 'missing' : null) });
            assert.match(said, words);
            await other.close();
            await lacking.close();
        }
    });

    test('a worker that fails, and one that is gone', async () => {
        const server = await serve(small);
        const page = await open(browser, server.url);
        const worker = () => page.page.workers()[0];
        await worker().evaluate(`void setTimeout(() => { throw new Error('no memory') })`);
        await reaches(page, 'failed');
        assert.match(await message(page), /worker has failed \(.*no memory\): start the container anew, or reload the page/);
        await click(page, 'again');
        await shows(page, /[#$]$/);
        // No event tells of this one: only who waits for it notices.
        await worker().evaluate('self.close()');
        await page.type('x');
        await until(async () => /worker does not answer: start/.test(await note(page)), PATIENCE, () => note(page));
        await click(page, 'reset');
        await shows(page, /^[^\n]*[#$]$/);
        await page.type('echo $((6 * 7))\n');
        await shows(page, /^42$/m);
        assert.equal(await note(page), '');
        await page.close();
        await server.close();
    });

    test('the title is that of what runs', async () => {
        const dir = changed('titled', (image) => void (image.page.title = 'One'));
        const server = await serve(dir);
        const page = await open(browser, server.url);
        const titles = () => page.evaluate(`[document.title, document.querySelector('h1').textContent]`);
        assert.deepEqual(await titles(), ['One', 'One']);
        const path = join(dir, 'image.json');
        const image = JSON.parse(readFileSync(path, 'utf8'));
        image.page.title = 'The <other>';
        writeFileSync(path, JSON.stringify(image));
        await click(page, 'reset');
        await until(async () => (await titles()).every((each) => each === 'The <other>'), PATIENCE, titles);
        await page.close();
        await server.close();
    });

    test('Reset while it loads, and while it prints', async () => {
        let isSlow = true;
        const server = await serve(small, { hold: (path) => isSlow && path.endsWith('.wasm') });
        const page = await browser.open();
        await page.goto(server.url);
        for (let n = 0; n < 5; n++) {
            await sleep(300);
            await click(page, 'reset');
        }
        isSlow = false;
        await click(page, 'reset');
        await shows(page, /[#$]$/);
        assert.equal(page.page.workers().length, 1);
        await page.type('yes stale\n');
        await shows(page, /stale\nstale/);
        await click(page, 'reset');
        await shows(page, /^[^\n]*[#$]$/);
        assert.doesNotMatch(await page.evaluate(SCREEN), /stale/);
        await page.close();
        await server.close();
    });

    test('an image of another format, and a damaged one', async () => {
        for (const [name, change, expected] of [
            ['newer', (image) => void (image.format = 99), /made by forelift [0-9.]+, which this page does not read/],
            ['cut', () => '{"format":', /image.json: it is damaged or was cut off/],
            ['none', () => '{}', /made by nothing that is known/],
        ]) {
            const { page, server, said } = await fails({}, changed(name, change));
            assert.match(said, expected, name);
            await page.close();
            await server.close();
        }
    });

    test('code of one version does not run with the data of another', async () => {
        const other = web('minbase', { options: ['--memory', '192M'] }).dir;
        const dir = changed('mixed', (image, dir) => {
            const [code] = readdirSync(other).filter((file) => file.endsWith('.wasm'));
            cpSync(join(other, code), join(dir, image.code.file));
        });
        const { page, server, said } = await fails({}, dir);
        assert.match(said, /of another version than/);
        await page.close();
        await server.close();
    });

    test('a chunk that cannot be had while the container runs', async () => {
        let isBroken = false;
        const server = await serve(small, { trouble: (path) => (isBroken && path.includes('/data/') ? 'missing' : null) });
        const page = await open(browser, server.url);
        isBroken = true;
        await page.type('cat /usr/share/perl5/*/*.pm /usr/bin/* | wc -c\n');
        await until(async () => /404.*trying again/.test(await note(page)), PATIENCE, () => note(page));
        assert.equal(await state(page), 'running');
        isBroken = false;
        await shows(page, /^\d{6,}$/m);
        assert.equal(await note(page), '');
        await page.close();
        await server.close();
    });

    test('the page of a fixed image takes nothing from its address', async () => {
        const { dir } = web('minbase', { options: ['--web-fixed', '--web-title', 'A <b>title</b>'], args: `-w /tmp sh -c 'pwd; echo "[$B]"'` });
        const server = await serve(dir);
        const page = await browser.open();
        await page.goto(`${server.url}?cmd=false&env=B=2`);
        await reaches(page, 'ended');
        assert.match(await page.evaluate(SCREEN), /^\/tmp\n\[\]$/m);
        assert.equal(await page.evaluate('document.title'), 'A <b>title</b>');
        assert.equal(await page.evaluate(`document.querySelector('h1').textContent`), 'A <b>title</b>');
        await page.close();
        await server.close();
    });
});
