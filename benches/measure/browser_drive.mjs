// One session of a browser with a page of one side; what it measured, as JSON, is the last line it says.
//
//     node browser_drive.mjs BROWSER SIDE DIR [WORKLOAD...]
//
// SIDE is `forelift` or `v86`, whose pages differ in the name of their terminal only. Without workloads it
// opens the page with an empty profile, is idle, types, and opens it again; with them it runs each of them
// three times in one page.

import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { cpu, launch, sleep, until } from '../../tests/web/browsers.mjs';
import { serve } from '../../tests/web/serve.mjs';

/** Seconds that a page may take to open, and a workload to run. */
const [PATIENCE, LONG] = [180, 600];
/** Seconds of rest before the page is idle, and of idleness. */
const [REST, IDLE] = [8, 10];
const CHARACTERS = 50;
const RUNS = 3;
/** What a server of static files might say; without it a browser would ask again for each file. */
const HEADERS = { 'cache-control': 'max-age=86400' };

const [name, side, dir, ...workloads] = process.argv.slice(2);
const TERMINAL = side === 'v86' ? 'globalThis.terminal' : 'globalThis.forelift?.terminal';

/** In the page: `bench` has what the terminal shows, and the times at which it showed it. */
const WATCH = `(async () => {
    const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    const bench = (globalThis.bench = { answered: null, echoes: [], marks: [], done: false, error: null });
    while (!(${TERMINAL})) await sleep(5);
    const terminal = ${TERMINAL};
    const line = (n) => terminal.buffer.active.getLine(n)?.translateToString(true) ?? '';
    const current = () => terminal.buffer.active.baseY + terminal.buffer.active.cursorY;
    const lines = () => Array.from({ length: current() + 1 }, (_, n) => line(n));
    bench.screen = () => lines().join('\\n').trimEnd();
    /** Waits for something that is looked for whenever something was written. */
    const shows = (look) =>
        new Promise((resolve) => {
            if (look()) return resolve(performance.now());
            const listener = terminal.onWriteParsed(() => {
                if (!look()) return;
                listener.dispose();
                resolve(performance.now());
            });
        });
    bench.type = (text) => terminal.input(text);
    bench.open = async () => {
        await shows(() => /[#$] *$/.test(line(current())));
        bench.prompt = performance.now();
        bench.type('echo $((6*7))\\r');
        bench.answered = await shows(() => lines().includes('42'));
    };
    bench.echo = async (count) => {
        for (let n = 0; n < count; n++) {
            if (n % 10 === 0) {
                bench.type('\\x15');
                await sleep(300);
            }
            const before = terminal.buffer.active.cursorX;
            const seen = shows(() => terminal.buffer.active.cursorX === before + 1);
            const begin = performance.now();
            bench.type('x');
            bench.echoes.push((await seen) - begin);
            await sleep(80);
        }
        bench.type('\\x15');
        bench.done = true;
    };
    bench.run = async (command) => {
        bench.done = false;
        bench.marks = [];
        // The last line is kept: it has the prompt.
        terminal.clear();
        let seen = 0;
        const ended = shows(() => {
            const found = lines().filter((each) => each.startsWith('@'));
            for (; seen < found.length; seen++) bench.marks.push([found[seen], performance.now()]);
            return found.includes('@done');
        });
        bench.type(command + '\\r');
        await ended;
        await sleep(200);
        bench.done = true;
    };
})()`;

/** Starts something in the page, which says by a property that it is done. */
async function ask(page, call, property, seconds) {
    await page.evaluate(`void bench.${call}.catch((error) => { bench.error = String(error); })`);
    const isDone = async () => {
        const [done, error] = await page.evaluate(`[bench.${property}, bench.error]`);
        if (error) throw new Error(`${side} in ${name}: ${error}`);
        return done;
    };
    const screen = async () => `${side} in ${name}, ${call}:\n${await page.evaluate('bench.screen?.()')}`;
    return until(isDone, seconds, screen);
}

/** Opens the page, and waits until its shell has answered. */
async function open(browser, url) {
    const page = await browser.open();
    await page.goto(url);
    await page.evaluate(`void ${WATCH}`);
    await until(() => page.evaluate('bench.screen !== undefined'), PATIENCE, () => `${side} in ${name}: no terminal`);
    await ask(page, 'open()', 'answered', PATIENCE);
    return [page, await page.evaluate('({ answered: bench.answered, prompt: bench.prompt })')];
}

/** Bytes of memory of a process and all below it; what they share counts in parts (proc(5), Pss). */
function memory(pid) {
    const children = new Map();
    for (const each of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
        try {
            const stat = readFileSync(`/proc/${each}/stat`, 'utf8');
            const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
            children.set(parent, [...(children.get(parent) ?? []), Number(each)]);
        } catch {
            // It has ended.
        }
    }
    const of = (each) => {
        let sum = 0;
        try {
            sum = 1024 * Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${each}/smaps_rollup`, 'utf8'))[1]);
        } catch {
            // It has ended.
        }
        return (children.get(each) ?? []).reduce((all, child) => all + of(child), sum);
    };
    return of(pid);
}

/** Sizes of what was asked for, without compression on the way. */
const plain = (requests) =>
    requests.reduce((sum, path) => {
        const file = join(dir, decodeURIComponent(path.endsWith('/') ? `${path}index.html` : path));
        return sum + (statSync(file, { throwIfNoEntry: false })?.size ?? 0);
    }, 0);

/** Processor seconds that the browser uses while nothing happens. */
async function idle(browser) {
    const before = cpu(browser.process.pid);
    await sleep(IDLE * 1000);
    return cpu(browser.process.pid) - before;
}

async function visit(browser, server) {
    const blank = await browser.open();
    await blank.goto('about:blank');
    await sleep(3000);
    const empty = memory(browser.process.pid);
    const emptyIdle = await idle(browser);
    await blank.close();
    const [page, cold] = await open(browser, server.url);
    const fetched = { brotli: server.bytes(), plain: plain(server.requests), requests: server.requests.length };
    await sleep(REST * 1000);
    const used = memory(browser.process.pid) - empty;
    const later = { brotli: server.bytes(), plain: plain(server.requests), requests: server.requests.length };
    const idleSeconds = await idle(browser);
    await ask(page, `echo(${CHARACTERS})`, 'done', PATIENCE);
    const echoes = await page.evaluate('bench.echoes');
    await page.close();
    await sleep(1000);
    const sent = server.bytes();
    const [again, warm] = await open(browser, server.url);
    const refetched = server.bytes() - sent;
    await again.close();
    return { cold, warm, fetched, later, refetched, memory: used, empty, idle: idleSeconds, emptyIdle, echoes };
}

async function work(browser, server) {
    const [page, opened] = await open(browser, server.url);
    await sleep(REST * 1000);
    const runs = {};
    for (const workload of workloads) {
        runs[workload] = [];
        for (let n = 0; n < RUNS; n++) {
            await ask(page, `run('/bench/workloads ${workload}')`, 'done', LONG);
            const marks = await page.evaluate('bench.marks');
            const find = (word) => marks.find(([line]) => line.startsWith(`${word} ${workload} `) || line === `${word} ${workload}`);
            const [start, end, check] = ['@start', '@end', '@check'].map(find);
            if (!start || !end || !check) {
                throw new Error(`${side} in ${name}: ${workload} has no result:\n${await page.evaluate('bench.screen()')}`);
            }
            const guest = Number(end[0].split(' ')[2]) / 1e9;
            runs[workload].push({ guest, page: (end[1] - start[1]) / 1000, check: check[0].split(' ')[2] });
        }
    }
    return { opened, runs };
}

let server;
let browser;
try {
    server = await serve(dir, { brotli: true, headers: HEADERS });
    browser = await launch(name);
    const found = workloads.length > 0 ? await work(browser, server) : await visit(browser, server);
    console.log(JSON.stringify(found));
} catch (error) {
    console.error(error.message);
    process.exitCode = 1;
} finally {
    await browser?.close();
    await server?.close();
}
