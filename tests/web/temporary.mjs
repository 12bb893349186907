// Where the project is, and a place for what the tests make.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The project's directory. */
export const TOP = join(dirname(fileURLToPath(import.meta.url)), '../..');

/** Gone at the tests' end. */
export const work = mkdtempSync(join(tmpdir(), 'forelift-web-'));
process.on('exit', () => rmSync(work, { recursive: true, force: true }));
