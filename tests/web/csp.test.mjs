// The page of a server with a strict Content-Security-Policy: it runs, and does nothing that is forbidden.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { BROWSERS, launch, until } from './browsers.mjs';
import { web } from './images.mjs';
import { PATIENCE, message, open, reaches, shows } from './look.mjs';
import { serve } from './serve.mjs';

/** What docs/browser.md says. A browser tells the server of what it has forbidden. */
const POLICY = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'";
const headers = (policy) => ({ 'content-security-policy': `${policy}; report-uri /forbidden` });

/** Writes words in a colour that only a style can give, and looks at what became of it. */
const RED = `printf '\\033[38;2;1;2;3mWORD\\033[0m\\n' | tr A-Z a-z`;
const LOOK = `(() => {
    const span = [...document.querySelectorAll('.xterm-rows span')].find((each) => each.textContent === 'word');
    return span === undefined ? null : getComputedStyle(span).color;
})()`;
/** What xterm has its rules for: the theme's colour, and the height of its rows. */
const ROWS = `(() => {
    const rows = document.querySelector('.xterm-rows');
    const { height } = rows.firstElementChild.getBoundingClientRect();
    return [getComputedStyle(rows).color, height > 5 && height < 50];
})()`;

let small;
before(() => {
    small = web('minbase').dir;
});

for (const name of BROWSERS) {
    describe(name, () => {
        let browser;
        before(async () => {
            browser = await launch(name);
        });
        after(() => browser?.close());

        test('under a strict policy the page runs, and looks as without one', async (context) => {
            const looks = [];
            for (const policy of [POLICY, null]) {
                const server = await serve(small, { headers: policy === null ? {} : headers(policy) });
                context.after(() => server.close());
                const page = await open(browser, server.url);
                await page.type(`${RED}\n`);
                await shows(page, /^word$/m);
                // What is in the terminal is drawn with the next frame.
                const colour = await until(() => page.evaluate(LOOK), PATIENCE);
                looks.push([colour, await page.evaluate(ROWS)]);
                await page.type('cat /usr/share/perl5/*/*.pm | wc -c\n');
                await shows(page, /^\d+$/m);
                await page.close();
                assert.deepEqual(server.requests.filter((path) => path === '/forbidden'), []);
            }
            const look = ['rgb(1, 2, 3)', ['rgb(255, 255, 255)', true]];
            assert.deepEqual(looks, [look, look]);
        });

        test('a policy that forbids WebAssembly is named', async (context) => {
            const server = await serve(small, { headers: headers("default-src 'self'") });
            context.after(() => server.close());
            const page = await browser.open();
            await page.goto(server.url);
            await reaches(page, 'failed');
            assert.match(await message(page), /Content-Security-Policy has to have 'wasm-unsafe-eval' in its script-src/);
            // Reports do come; WebKit has none about WebAssembly.
            await until(() => name === 'webkit' || server.requests.includes('/forbidden'), PATIENCE);
            await page.close();
        });
    });
}
