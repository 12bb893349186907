// WASI preview 1 as a module calls it: the functions of an instance, and a memory to pass what they take.

import { Errno, Open } from '../dist/abi.js';
import { preopens } from '../dist/files.js';
import { Output } from '../dist/pipe.js';
import { Preview1 } from '../dist/preview1.js';

const NAMES = [
    'fd_advise fd_allocate fd_close fd_datasync fd_fdstat_get fd_fdstat_set_flags fd_filestat_get',
    'fd_filestat_set_size fd_filestat_set_times fd_pread fd_prestat_dir_name fd_prestat_get fd_pwrite',
    'fd_read fd_readdir fd_seek fd_sync fd_tell fd_write path_create_directory path_filestat_get',
    'path_filestat_set_times path_link path_open path_readlink path_remove_directory path_rename',
    'path_symlink path_unlink_file',
].flatMap((line) => line.split(' '));

/** A module that imports all of them: each is a function without parameters, as nobody calls them by it. */
function importer() {
    const name = (text) => [text.length, ...new TextEncoder().encode(text)];
    const imports = NAMES.flatMap((each) => [...name('wasi_snapshot_preview1'), ...name(each), 0, 0]);
    const section = (id, bytes) => [id, (bytes.length & 127) | 128, bytes.length >> 7, ...bytes];
    const header = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
    return new WebAssembly.Module(
        new Uint8Array([
            ...header,
            ...section(1, [1, 0x60, 0, 0]),
            ...section(2, [NAMES.length, ...imports]),
        ]),
    );
}

/** Names of errors by their numbers. */
const NAME = new Map(Object.entries(Errno).map(([name, number]) => [number, name]));
const [PATH, OTHER, RESULT, LIST, DATA] = [0x1000, 0x3000, 0x5000, 0x6000, 0x10000];
export const ALL = (1n << 30n) - 1n;
export const READ = 1n << 1n;

/** An instance with directories. Its methods give the error's name, or what the call gives. */
export class Module {
    memory = new WebAssembly.Memory({ initial: 64 });

    constructor(directories) {
        const output = () => new Output(() => undefined);
        const wasi = new Preview1({
            args: [],
            env: {},
            stdin: null,
            stdout: output(),
            stderr: output(),
            link: null,
            root: null,
            terminal: null,
            directories: preopens(directories),
        });
        wasi.memory = this.memory;
        this.wasi = wasi.imports(importer());
    }

    get bytes() {
        return new Uint8Array(this.memory.buffer);
    }

    get view() {
        return new DataView(this.memory.buffer);
    }

    /** Calls a function: a text becomes its address and its length. */
    call(name, ...args) {
        const places = [PATH, OTHER];
        const words = args.flatMap((arg) => {
            if (typeof arg !== 'string') return [arg];
            const at = places.shift();
            const text = new TextEncoder().encode(arg);
            this.bytes.set(text, at);
            return [at, text.length];
        });
        const error = this.wasi[name](...words);
        return NAME.get(error) ?? error;
    }

    /** Calls a function with a place for its result; what `take` reads there. */
    get(name, args, take) {
        const error = this.call(name, ...args, RESULT);
        return error === 'SUCCESS' ? take(this.view) : error;
    }

    open(path, { flags = 0, rights = ALL, fdflags = 0, follow = 0, fd = 3 } = {}) {
        const args = [fd, follow, path, flags, rights, 0n, fdflags];
        return this.get('path_open', args, (view) => view.getUint32(RESULT, true));
    }

    create(path) {
        return this.open(path, { flags: Open.CREATE });
    }

    /** Reads so many bytes, from the position or from an offset. */
    read(fd, count, offset) {
        this.buffer(count);
        const [name, at] = offset === undefined ? ['fd_read', []] : ['fd_pread', [BigInt(offset)]];
        const done = this.get(name, [fd, LIST, 1, ...at], (view) => view.getUint32(RESULT, true));
        return typeof done === 'string' ? done : this.bytes.slice(DATA, DATA + done);
    }

    /** Writes bytes or a text, at the position or at an offset. */
    write(fd, data, offset) {
        const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : data;
        this.buffer(bytes.length);
        this.bytes.set(bytes, DATA);
        const [name, at] = offset === undefined ? ['fd_write', []] : ['fd_pwrite', [BigInt(offset)]];
        return this.get(name, [fd, LIST, 1, ...at], (view) => view.getUint32(RESULT, true));
    }

    /** The attributes of a descriptor, or of a path below the first directory. */
    stat(what, follow = 0) {
        const [name, args] =
            typeof what === 'number' ? ['fd_filestat_get', [what]] : ['path_filestat_get', [3, follow, what]];
        return this.get(name, args, (view) => {
            const word = (at) => view.getBigUint64(RESULT + at, true);
            const [dev, ino, type, links, size] = [
                word(0),
                word(8),
                view.getUint8(RESULT + 16),
                word(24),
                word(32),
            ];
            return {
                dev,
                ino,
                type,
                links: Number(links),
                size: Number(size),
                atime: word(40),
                mtime: word(48),
                ctime: word(56),
            };
        });
    }

    /** The entries from a cookie on, as far as they fit into so many bytes. */
    list(fd, cookie = 0n, room = 4096) {
        const used = this.get('fd_readdir', [fd, DATA, room, cookie], (view) => view.getUint32(RESULT, true));
        if (typeof used === 'string') return used;
        const entries = [];
        for (let at = DATA; at + 24 <= DATA + used; ) {
            const length = this.view.getUint32(at + 16, true);
            if (at + 24 + length > DATA + used) break;
            const name = new TextDecoder().decode(this.bytes.slice(at + 24, at + 24 + length));
            const [next, ino] = [this.view.getBigUint64(at, true), this.view.getBigUint64(at + 8, true)];
            entries.push({ name, next, ino, type: this.view.getUint8(at + 20) });
            at += 24 + length;
        }
        return entries;
    }

    readlink(path) {
        const take = (view) =>
            new TextDecoder().decode(this.bytes.slice(DATA, DATA + view.getUint32(RESULT, true)));
        return this.get('path_readlink', [3, path, DATA, 4096], take);
    }

    buffer(length) {
        this.view.setUint32(LIST, DATA, true);
        this.view.setUint32(LIST + 4, length, true);
    }
}
