// The directories that the tests serve, made by `forelift convert --web` of Debian's packages.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { TOP, work } from './temporary.mjs';

export { work } from './temporary.mjs';

const BUILT = join(process.env.CARGO_TARGET_DIR ?? join(TOP, 'target'), 'dist/bin/forelift');
/** The command. */
export const FORELIFT = process.env.FORELIFT_BIN ?? BUILT;

const run = (program, args) =>
    execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }).trim();

/** The root file system of that name, as `scripts/rootfs` makes it. */
const root = (name, arch) => run(join(TOP, 'scripts/rootfs'), ['--arch', arch, name]).split('\n').at(-1);

/** Converts; the directory, and what `--json` has said. */
export function web(name, { arch = 'riscv64', options = ['--memory', '128M'], args = 'bash' } = {}) {
    if (!existsSync(FORELIFT)) throw new Error(`no ${FORELIFT}: build it with scripts/build`);
    const dir = mkdtempSync(join(work, `${name}-`));
    const more = ['--web-args', args, '--json', '--quiet', ...options];
    const said = run(FORELIFT, ['convert', '--web', dir, ...more, `tar:${root(name, arch)}`]);
    return { dir, said: JSON.parse(said) };
}
