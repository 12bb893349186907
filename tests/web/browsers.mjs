// Browsers that the tests drive: Chromium and Firefox by puppeteer, WebKit by its own WebDriver.

import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import puppeteer from 'puppeteer-core';

export const BROWSERS = ['chromium', 'firefox', 'webkit'];

/** Waits. */
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Seconds of processor time that a process and all below it have used. */
export function cpu(pid) {
    const parents = new Map();
    const used = new Map();
    for (const name of readdirSync('/proc').filter((each) => /^\d+$/.test(each))) {
        let stat;
        try {
            stat = readFileSync(`/proc/${name}/stat`, 'utf8');
        } catch {
            continue;
        }
        // The second field is a name in parentheses that may hold anything (proc(5)).
        const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        parents.set(Number(name), Number(fields[1]));
        used.set(Number(name), (Number(fields[11]) + Number(fields[12])) / 100);
    }
    const isBelow = (each) => each === pid || (parents.has(each) && isBelow(parents.get(each)));
    return [...used].reduce((sum, [each, seconds]) => sum + (isBelow(each) ? seconds : 0), 0);
}

/** Waits until `condition` gives something; fails after `seconds` with what `describe` says. */
export async function until(condition, seconds, describe = () => '') {
    const end = Date.now() + seconds * 1000;
    for (;;) {
        const found = await condition();
        if (found) return found;
        if (Date.now() > end) throw new Error(`nothing after ${seconds} s: ${await describe()}`);
        await sleep(50);
    }
}

/** A page of puppeteer's, with the few things that all browsers here do. */
class Puppet {
    constructor(page) {
        this.page = page;
    }
    goto(url) {
        return this.page.goto(url, { waitUntil: 'domcontentloaded' });
    }
    evaluate(expression) {
        return this.page.evaluate(expression);
    }
    type(text) {
        return this.page.keyboard.type(text);
    }
    press(key, modifier) {
        return modifier === undefined
            ? this.page.keyboard.press(key)
            : this.page.keyboard
                  .down(modifier)
                  .then(() => this.page.keyboard.press(key))
                  .then(() => this.page.keyboard.up(modifier));
    }
    resize(width, height) {
        return this.page.setViewport({ width, height });
    }
    screenshot(path) {
        return this.page.screenshot({ path });
    }
    close() {
        return this.page.close();
    }
}

async function puppet(browser) {
    const profile = mkdtempSync(join(tmpdir(), 'forelift-browser-'));
    const options =
        browser === 'chromium'
            ? { executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'] }
            : { browser: 'firefox', executablePath: '/usr/bin/firefox-esr' };
    const driver = await puppeteer.launch({ ...options, headless: true, userDataDir: profile });
    return {
        name: browser,
        process: driver.process(),
        /** A new tab; of a private window, if that is asked for. */
        async open({ isPrivate = false } = {}) {
            const page = await (isPrivate ? await driver.createBrowserContext() : driver).newPage();
            await page.setViewport({ width: 1000, height: 700 });
            return new Puppet(page);
        },
        async close() {
            await driver.close();
            rmSync(profile, { recursive: true, force: true });
        },
    };
}

/** The keys that WebDriver has codes for. */
const KEYS = { Enter: '\uE007' };
/** Under this name WebDriver gives elements. */
const ELEMENT = 'element-6066-11e4-a52e-4f735466cecf';

/** The one page of a session of WebKit's driver. */
class WebKitPage {
    constructor(ask) {
        this.ask = ask;
    }
    goto(url) {
        return this.ask('POST', '/url', { url });
    }
    async evaluate(expression) {
        const script = `const [done] = [arguments[0]];
            Promise.resolve().then(() => (${expression})).then((value) => done({ value }), (e) => done({ error: String(e) }));`;
        const { value, error } = await this.ask('POST', '/execute/async', { script, args: [] });
        if (error !== undefined) throw new Error(error);
        return value;
    }
    async type(text) {
        const found = await this.ask('POST', '/element', { using: 'css selector', value: '.xterm-helper-textarea' });
        await this.ask('POST', `/element/${found[ELEMENT]}/value`, { text });
    }
    press(key, modifier) {
        // Its driver does not always let go of a modifier.
        if (modifier !== 'Control') return this.type(KEYS[key] ?? key);
        return this.evaluate(`forelift.terminal.input(String.fromCharCode(${key.charCodeAt(0) & 31}))`);
    }
    resize(width, height) {
        return this.ask('POST', '/window/rect', { width, height });
    }
    async close() {
        await this.goto('about:blank');
    }
}

async function webkit() {
    const port = 20_000 + Math.floor(Math.random() * 20_000);
    const driver = spawn('xvfb-run', ['-a', 'WebKitWebDriver', `--port=${port}`], { stdio: 'ignore', detached: true });
    const ask = async (method, path, body) => {
        const response = await fetch(`http://127.0.0.1:${port}${path}`, {
            method,
            body: body === undefined ? null : JSON.stringify(body),
        });
        const { value } = await response.json();
        if (!response.ok) throw new Error(`${method} ${path}: ${value.error}: ${value.message}`);
        return value;
    };
    await until(() => ask('GET', '/status').catch(() => null), 30);
    const binary = '/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser';
    const options = { 'webkitgtk:browserOptions': { binary, args: ['--automation'] } };
    const { sessionId } = await ask('POST', '/session', { capabilities: { alwaysMatch: options } });
    const session = (method, path, body) => ask(method, `/session/${sessionId}${path}`, body);
    return {
        name: 'webkit',
        process: driver,
        open: async () => new WebKitPage(session),
        async close() {
            await session('DELETE', '').catch(() => undefined);
            process.kill(-driver.pid);
        },
    };
}

/** Starts a browser. */
export function launch(browser) {
    return browser === 'webkit' ? webkit() : puppet(browser);
}
