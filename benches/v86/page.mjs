// A saved machine of v86's on a page, with its serial line in a terminal: as few and as small files as v86's
// documents say. settings.mjs is of benches/measure/browser_boot.mjs.

import { V86 } from './libv86.mjs';
import { Terminal } from './xterm.mjs';
import settings from './settings.mjs';

/** The terminal, where what measures finds it. */
class Shown extends Terminal {
    constructor(options) {
        super({ ...options, scrollback: 2000 });
        globalThis.terminal = this;
    }
}

const emulator = new V86({
    ...settings,
    wasm_path: 'v86.wasm',
    bios: { url: 'bios.bin' },
    vga_bios: { url: 'vgabios.bin' },
    initial_state: { url: 'state.bin.zst' },
    filesystem: { baseurl: 'files/' },
    serial_console: { type: 'xtermjs', container: document.getElementById('shown'), xterm_lib: Shown },
    autostart: true,
});
// The terminal is empty, and the shell waits: a line makes it show its prompt.
emulator.add_listener('emulator-started', () => emulator.serial0_send('\n'));
