// What the tests look at in the page.

import { until } from './browsers.mjs';

/** Seconds that anything may take on a slow machine. */
export const PATIENCE = 60;
export const SCREEN = `(() => {
    const { active } = forelift.terminal.buffer;
    const lines = Array.from({ length: active.length }, (_, n) => active.getLine(n).translateToString(true));
    return lines.join('\\n').trimEnd();
})()`;
export const state = (page) => page.evaluate('document.body.dataset.state');
export const message = (page) => page.evaluate(`document.getElementById('message').textContent`);
export const note = (page) => page.evaluate(`document.getElementById('note').textContent`);
export const click = (page, id) => page.evaluate(`document.getElementById('${id}').click()`);

/** Waits until the terminal shows something; what it shows. */
export async function shows(page, pattern) {
    let screen = '';
    const look = async () => {
        screen = await page.evaluate(SCREEN).catch(() => '');
        return pattern.test(screen) ? screen : null;
    };
    const describe = async () => `${pattern} in\n${screen}\nstate ${await state(page)}: ${await message(page)}`;
    return until(look, PATIENCE, describe);
}

/** Waits for a state of the page. */
export async function reaches(page, wanted) {
    const isThere = async () => (await state(page).catch(() => null)) === wanted;
    await until(isThere, PATIENCE, async () => `${await state(page)} in place of ${wanted}: ${await message(page)}`);
}

/** Opens the page, and waits for the prompt. */
export async function open(browser, url) {
    const page = await browser.open();
    await page.goto(url);
    await shows(page, /[#$]$/);
    return page;
}
