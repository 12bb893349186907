// Thousands of random operations, at once on a directory in memory and on one of the system's: both give the
// same results, the same errors, and the same tree. The system's is Linux's file system, or there is no test.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { inspect } from 'node:util';
import { Directory } from '../dist/index.js';
import { Open } from '../dist/abi.js';
import { ALL, Module, READ } from './preview1.mjs';

const OPERATIONS = 6_000;
const SEED = Number(process.env.FORELIFT_SEED ?? 1);
const TYPE = { 4: 'file', 3: 'directory', 7: 'symlink' };

/** Numbers below `n`, the same ones for the same seed (Marsaglia's xorshift). */
function random(seed) {
    let state = (seed * 2654435761) >>> 0 || 1;
    return (n) => {
        state ^= state << 13;
        state ^= state >>> 17;
        state = (state ^ (state << 5)) >>> 0;
        return state % n;
    };
}

class Pair {
    directory = new Directory();
    memory = new Module({ '/mnt': this.directory });
    root = fs.mkdtempSync(join(os.tmpdir(), 'forelift-'));
    /** Files that are open in both: descriptors. */
    files = [];
    outside = 0;
    done = new Map();

    constructor(seed) {
        this.below = random(seed);
    }

    pick(all) {
        return all[this.below(all.length)];
    }

    /** A path of up to three names of few, so that they meet. */
    path() {
        const names = ['a', 'b', 'c', 'd', 'e', 'f', '.', '..'];
        const parts = Array.from({ length: 1 + this.below(3) }, () =>
            this.pick(names.slice(0, this.below(6) ? 6 : 8)),
        );
        return parts.join('/') + (this.below(12) === 0 ? '/' : '');
    }

    /** Does the same in both. What leads out of the directory is done in neither. */
    same(what, memory, system) {
        const got = memory();
        if (got === 'NOTCAPABLE') {
            this.outside += 1;
            return undefined;
        }
        let expected;
        try {
            expected = system() ?? 'SUCCESS';
        } catch (error) {
            expected = error.code?.replace(/^E/, '') ?? String(error);
        }
        const key = `${what.split(' ')[0]} ${typeof expected === 'string' ? expected : 'SUCCESS'}`;
        this.done.set(key, (this.done.get(key) ?? 0) + 1);
        return [got, expected];
    }

    check(what, memory, system) {
        const both = this.same(what, memory, system);
        if (both !== undefined) assert.deepEqual(both[0], both[1], what);
    }

    step() {
        const { memory, root } = this;
        const [path, other] = [this.path(), this.path()];
        const [at, there] = [`${root}/${path}`, `${root}/${other}`];
        const call =
            (name, ...args) =>
            () =>
                memory.call(name, ...args);
        switch (this.below(16)) {
            case 0:
            case 1:
                return this.check(`mkdir ${path}`, call('path_create_directory', 3, path), () =>
                    fs.mkdirSync(at),
                );
            case 2:
                return this.check(`rmdir ${path}`, call('path_remove_directory', 3, path), () =>
                    fs.rmdirSync(at),
                );
            case 3:
                return this.check(`unlink ${path}`, call('path_unlink_file', 3, path), () =>
                    fs.unlinkSync(at),
                );
            case 4:
            case 5:
                return this.check(`rename ${path} ${other}`, call('path_rename', 3, path, 3, other), () =>
                    fs.renameSync(at, there),
                );
            case 6:
                return this.check(`link ${path} ${other}`, call('path_link', 3, 0, path, 3, other), () =>
                    fs.linkSync(at, there),
                );
            case 7:
                return this.check(`symlink ${path} ${other}`, call('path_symlink', path, 3, other), () =>
                    fs.symlinkSync(path, there),
                );
            case 8:
                return this.check(
                    `readlink ${path}`,
                    () => memory.readlink(path),
                    () => fs.readlinkSync(at),
                );
            case 9:
                return this.stat(path, at);
            case 10:
                return this.times(path, at);
            case 11:
                return this.list(path, at);
            case 12:
            case 13:
                return this.open(path, at);
            default:
                return this.use();
        }
    }

    stat(path, at) {
        const follow = this.below(2);
        const known = ({ type, links, size, mtime }) =>
            TYPE[type] === 'directory'
                ? TYPE[type]
                : { type: TYPE[type], links, size, mtime: this.old(mtime) };
        const memory = () => {
            const stat = this.memory.stat(path, follow);
            return typeof stat === 'string' ? stat : known(stat);
        };
        this.check(`stat ${path} ${follow}`, memory, () => {
            const stat = (follow ? fs.statSync : fs.lstatSync)(at, { bigint: true });
            const type = stat.isFile() ? 4 : stat.isDirectory() ? 3 : 7;
            return known({ type, links: Number(stat.nlink), size: Number(stat.size), mtime: stat.mtimeNs });
        });
    }

    /** A time that was set, or that none was. */
    old(time) {
        return time < 10n ** 18n ? time : 'now';
    }

    times(path, at) {
        const seconds = 1 + this.below(1000);
        const time = BigInt(seconds) * 10n ** 9n;
        const memory = () => this.memory.call('path_filestat_set_times', 3, 0, path, time, time, 5);
        this.check(`times ${path}`, memory, () => fs.lutimesSync(at, seconds, seconds));
    }

    list(path, at) {
        const memory = () => {
            const fd = this.memory.open(path, { flags: Open.DIRECTORY, follow: 1, rights: READ });
            if (typeof fd === 'string') return fd;
            const names = [];
            for (let cookie = 0n; ; ) {
                const entries = this.memory.list(fd, cookie, 60);
                if (entries.length === 0) break;
                names.push(...entries.map(({ name, type }) => `${name} ${TYPE[type]}`));
                cookie = entries.at(-1).next;
            }
            this.memory.call('fd_close', fd);
            return names.sort();
        };
        this.check(`list ${path}`, memory, () => {
            const kind = (entry) => (entry.isFile() ? 'file' : entry.isDirectory() ? 'directory' : 'symlink');
            const names = fs
                .readdirSync(at, { withFileTypes: true })
                .map((entry) => `${entry.name} ${kind(entry)}`);
            return [...names, '. directory', '.. directory'].sort();
        });
    }

    open(path, at) {
        const O = fs.constants;
        const flag = (one, of) => (this.below(of) === 0 ? one : 0);
        const flags =
            flag(Open.CREATE, 2) | flag(Open.EXCLUSIVE, 4) | flag(Open.TRUNCATE, 5) | flag(Open.DIRECTORY, 9);
        // Linux says nothing of what these are without the other.
        const isOdd =
            (flags & Open.EXCLUSIVE && !(flags & Open.CREATE)) ||
            (flags & Open.CREATE && flags & Open.DIRECTORY);
        if (isOdd) return;
        const follow = this.below(2);
        const isWritten = flags & Open.TRUNCATE || this.below(2) === 0;
        const append = this.below(5) === 0;
        let system = isWritten ? O.O_RDWR : O.O_RDONLY;
        if (flags & Open.CREATE) system |= O.O_CREAT;
        if (flags & Open.EXCLUSIVE) system |= O.O_EXCL;
        if (flags & Open.TRUNCATE) system |= O.O_TRUNC;
        if (flags & Open.DIRECTORY) system |= O.O_DIRECTORY;
        if (append) system |= O.O_APPEND;
        if (!follow) system |= O.O_NOFOLLOW;
        const options = { flags, follow, rights: isWritten ? ALL : READ, fdflags: append ? 1 : 0 };
        const both = this.same(
            `open ${path}`,
            () => this.memory.open(path, options),
            () => fs.openSync(at, system),
        );
        if (both === undefined) return;
        const [mine, theirs] = both;
        if (typeof mine === 'string' || typeof theirs === 'string') {
            assert.equal(mine, theirs, `open ${path} ${inspect(options)}`);
            return;
        }
        const isFile = fs.fstatSync(theirs).isFile();
        assert.equal(TYPE[this.memory.stat(mine).type] === 'file', isFile, path);
        if (isFile) this.files.push([mine, theirs]);
        else this.close([mine, theirs]);
        if (this.files.length > 12) this.close(this.files.splice(this.below(12), 1)[0]);
    }

    close([mine, theirs]) {
        assert.equal(this.memory.call('fd_close', mine), 'SUCCESS');
        fs.closeSync(theirs);
    }

    /** Uses an open file, whose name may be gone. */
    use() {
        if (this.files.length === 0) return;
        const { memory } = this;
        const [mine, theirs] = this.pick(this.files);
        const at = this.pick([0, 5, 100, 4096, 70_000, (1 << 20) - 3, 3 << 20]) + this.below(3);
        const count = this.pick([0, 1, 10, 5000, 70_000]);
        const bytes = new Uint8Array(count).fill(1 + this.below(255));
        const read = (position) => {
            const into = new Uint8Array(count);
            return into.slice(0, fs.readSync(theirs, into, 0, count, position));
        };
        switch (this.below(8)) {
            case 0:
                return this.check(
                    `read ${count}`,
                    () => memory.read(mine, count),
                    () => read(null),
                );
            case 1:
            case 2:
                return this.check(
                    `pread ${at} ${count}`,
                    () => memory.read(mine, count, at),
                    () => read(at),
                );
            case 3:
                return this.check(
                    `write ${count}`,
                    () => memory.write(mine, bytes),
                    () => fs.writeSync(theirs, bytes),
                );
            case 4:
            case 5:
                // Linux's pwrite(2) appends to a file that is open with O_APPEND, against POSIX.
                if (memory.get('fd_fdstat_get', [mine], (view) => view.getUint16(0x5002, true)) === 1)
                    return undefined;
                return this.check(
                    `pwrite ${at} ${count}`,
                    () => memory.write(mine, bytes, at),
                    () => fs.writeSync(theirs, bytes, 0, count, at),
                );
            case 6:
                return this.check(
                    `truncate ${at}`,
                    () => memory.call('fd_filestat_set_size', mine, BigInt(at)),
                    () => fs.ftruncateSync(theirs, at),
                );
            default:
                return this.check(
                    'fstat',
                    () => [memory.stat(mine).size, memory.stat(mine).links],
                    () => [fs.fstatSync(theirs).size, fs.fstatSync(theirs).nlink],
                );
        }
    }

    /** All that the two trees hold. A file is told by the first of its names. */
    trees() {
        const firsts = [new Map(), new Map()];
        const first = (nth, inode, path) => firsts[nth].get(inode) ?? (firsts[nth].set(inode, path), path);
        const { directory, root } = this;
        const mine = (path) =>
            directory
                .list(path)
                .sort((a, b) => (a.name < b.name ? -1 : 1))
                .flatMap(({ name, kind, inode }) => {
                    const at = join(path, name);
                    const head = `${at} ${kind} ${first(0, inode, at)}`;
                    if (kind === 'directory') return [head, ...mine(at)];
                    return [
                        `${head} ${kind === 'symlink' ? directory.readlink(at) : sum(directory.read(at))}`,
                    ];
                });
        const theirs = (path) =>
            fs
                .readdirSync(join(root, path))
                .sort()
                .flatMap((name) => {
                    const at = join(path, name);
                    const [full, stat] = [join(root, at), fs.lstatSync(join(root, at))];
                    const kind = stat.isFile() ? 'file' : stat.isDirectory() ? 'directory' : 'symlink';
                    const head = `${at} ${kind} ${first(1, stat.ino, at)}`;
                    if (kind === 'directory') return [head, ...theirs(at)];
                    return [
                        `${head} ${kind === 'symlink' ? fs.readlinkSync(full) : sum(fs.readFileSync(full))}`,
                    ];
                });
        return [mine(''), theirs('')];
    }
}

/** A length and a check sum. */
function sum(bytes) {
    return `${bytes.length} ${createHash('md5').update(bytes).digest('hex')}`;
}

test('as a file system of Linux', { skip: process.platform !== 'linux' && 'another system' }, () => {
    const pair = new Pair(SEED);
    try {
        for (let nth = 1; nth <= OPERATIONS; nth += 1) {
            pair.step();
            if (nth % 500 !== 0) continue;
            const [mine, theirs] = pair.trees();
            assert.deepEqual(mine, theirs, `after ${nth} operations of FORELIFT_SEED=${SEED}`);
        }
    } finally {
        fs.rmSync(pair.root, { recursive: true });
    }
    assert.ok(pair.outside < OPERATIONS / 10, `${pair.outside} paths lead out`);
    // Each of these has happened.
    const some =
        'rename:NOTEMPTY,INVAL,ISDIR,NOTDIR,BUSY,SUCCESS link:PERM,EXIST,SUCCESS open:LOOP,ISDIR,EXIST';
    for (const [name, errors] of some.split(' ').map((each) => each.split(':'))) {
        for (const error of errors.split(','))
            assert.ok(pair.done.has(`${name} ${error}`), `no ${name} gave ${error}`);
    }
});
