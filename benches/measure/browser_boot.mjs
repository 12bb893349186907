// Boots v86's machine in Node to the shell's prompt, and saves its state.
//
//     node browser_boot.mjs LIBRARY PACKAGES DIR MEMORY [OPTION...]
//
// LIBRARY is the directory of v86's build, PACKAGES what benches/v86/packages has made. DIR has `initrd`,
// `files.json`, `files/`, and gets `state.bin`, and `settings.mjs` with the options that the page must give
// again. MEMORY is in MiB, OPTION one more of the kernel's. What it says last is JSON: seconds to the prompt,
// bytes of the state.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const PATIENCE = 900;
// As in tools/docker/alpine/build-state.js of v86's. Debian's kernel would clear pages when they are taken,
// Forelift's does not. Without the mitigations of faults that v86's processor does not have.
const CMDLINE = 'console=ttyS0 quiet tsc=reliable mitigations=off init_on_alloc=0';
// Drops what need not be in the state, and fills free memory with zeros, which are left out of it.
const CLEAR = `
sync; echo 3 >/proc/sys/vm/drop_caches
least=$(</proc/sys/vm/min_free_kbytes); echo 256 >/proc/sys/vm/min_free_kbytes
mount -t tmpfs -o size=100% none /mnt
while read -r key kib _; do [ $key != MemFree: ] || head -c $((kib - 1536))k /dev/zero >/mnt/zero; done </proc/meminfo
umount /mnt; echo $least >/proc/sys/vm/min_free_kbytes; clear; echo cleared=$((6*7))
`;

const [library, packages, dir, memory, ...options] = process.argv.slice(2);
const { V86 } = await import(pathToFileURL(join(library, 'libv86.mjs')));
const cmdline = [CMDLINE, ...options].join(' ');
const settings = {
    memory_size: Number(memory) * 2 ** 20,
    vga_memory_size: 2 * 2 ** 20,
    disable_keyboard: true,
    disable_mouse: true,
    disable_speaker: true,
};
const begin = performance.now();
const emulator = new V86({
    ...settings,
    wasm_path: join(library, 'v86.wasm'),
    bios: { url: join(packages, 'bios') },
    vga_bios: { url: join(packages, 'vgabios') },
    bzimage: { url: join(packages, 'kernel') },
    initrd: { url: join(dir, 'initrd') },
    cmdline,
    filesystem: { basefs: join(dir, 'files.json'), baseurl: join(dir, 'files') },
    autostart: true,
});
let said = '';
emulator.add_listener('serial0-output-byte', (byte) => (said += String.fromCharCode(byte)));

/** Waits until the machine has said something. */
async function says(pattern) {
    while (!pattern.test(said)) {
        if (performance.now() - begin > PATIENCE * 1000) {
            console.error(`v86 did not say ${pattern} in ${PATIENCE} s; the end of what it said:\n${said.slice(-2000)}`);
            process.exit(1);
        }
        await new Promise((resolve) => setTimeout(resolve, 100));
    }
}

await says(/# $/);
const seconds = (performance.now() - begin) / 1000;
emulator.serial0_send(CLEAR.trimStart());
await says(/cleared=42\r[^]*# $/);
await new Promise((resolve) => setTimeout(resolve, 3000));
const state = new Uint8Array(await emulator.save_state());
writeFileSync(join(dir, 'state.bin'), state);
writeFileSync(join(dir, 'settings.mjs'), `export default ${JSON.stringify(settings)};\n`);
console.log(JSON.stringify({ boot: seconds, state: state.length, cmdline }));
process.exit(0);
