// WASI preview 1 for files, beyond what random operations compare with Linux.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Directory } from '../dist/index.js';
import { Open } from '../dist/abi.js';
import { ALL, Module, READ } from './preview1.mjs';

const text = (bytes) => new TextDecoder().decode(bytes);
const names = (entries) => entries.map(({ name }) => name);

/** The rights of a descriptor: its own, and those of what is opened below. */
const rights = (module, fd) =>
    module.get('fd_fdstat_get', [fd], (view) => [
        view.getBigUint64(0x5008, true),
        view.getBigUint64(0x5010, true),
    ]);

test('without directories there is what there was', () => {
    const module = new Module({});
    assert.equal(module.call('fd_prestat_get', 3, 0x5000), 'BADF');
    assert.equal(module.call('fd_close', 3), 'BADF');
    assert.equal(module.call('fd_pread', 3, 0, 0, 0n, 0x5000), 'BADF');
    for (const name of ['path_open', 'fd_readdir', 'fd_filestat_get', 'path_rename']) {
        assert.equal(module.call(name, 0, 0, 0), 'NOSYS', name);
    }
});

test('preopened directories are told in order', () => {
    const module = new Module({ '/data': new Directory(), '/ünï': new Directory() });
    const told = (fd) => {
        const length = module.get('fd_prestat_get', [fd], (view) => view.getUint32(0x5004, true));
        if (typeof length === 'string') return length;
        assert.equal(module.call('fd_prestat_dir_name', fd, 0x5000, length - 1), 'NAMETOOLONG');
        assert.equal(module.call('fd_prestat_dir_name', fd, 0x5000, length), 'SUCCESS');
        return text(module.bytes.slice(0x5000, 0x5000 + length));
    };
    assert.deepEqual([told(3), told(4), told(5)], ['/data', '/ünï', 'BADF']);
    const fd = module.create('f');
    assert.equal(told(fd), 'BADF');
    // Forelift's own descriptors stay what they are.
    assert.equal(module.call('fd_tell', 1000, 0x5000), 'SPIPE');
    assert.equal(module.write(1, 'x'), 1);
    assert.notEqual(module.stat(3).dev, module.stat(4).dev);
});

test('two directories are two file systems', () => {
    const module = new Module({ '/a': new Directory(), '/b': new Directory() });
    module.create('f');
    assert.equal(module.call('path_rename', 3, 'f', 4, 'f'), 'XDEV');
    assert.equal(module.call('path_link', 3, 0, 'f', 4, 'f'), 'XDEV');
});

test('a read-only directory refuses each change, and says so by its rights', () => {
    const directory = new Directory();
    directory.write('d/f', 'text');
    const module = new Module({ '/ro': { directory, readOnly: true } });
    const [own, below] = rights(module, 3);
    assert.equal(own & (1n << 10n), 0n);
    assert.equal(below & (1n << 6n), 0n);
    for (const [name, ...args] of [
        ['path_create_directory', 3, 'new'],
        ['path_create_directory', 3, '.'],
        ['path_remove_directory', 3, 'd'],
        ['path_unlink_file', 3, 'd/f'],
        ['path_rename', 3, 'd', 3, 'e'],
        ['path_link', 3, 0, 'd/f', 3, 'g'],
        ['path_symlink', 'x', 3, 'l'],
        ['path_filestat_set_times', 3, 0, 'd/f', 0n, 0n, 5],
    ]) {
        assert.equal(module.call(name, ...args), 'ROFS', name);
    }
    assert.equal(module.open('d/f'), 'ROFS');
    assert.equal(module.open('new', { flags: Open.CREATE, rights: READ }), 'ROFS');
    assert.equal(module.open('d/f', { flags: Open.TRUNCATE, rights: READ }), 'ROFS');
    const fd = module.open('d/f', { rights: READ });
    assert.equal(text(module.read(fd, 10)), 'text');
    assert.equal(module.write(fd, 'x'), 'BADF');
    assert.equal(module.call('fd_filestat_set_times', fd, 0n, 0n, 5), 'ROFS');
    assert.equal(module.call('fd_filestat_set_size', fd, 0n), 'INVAL');
    assert.equal(module.call('fd_allocate', fd, 0n, 10n), 'BADF');
});

test('cookies stay right while entries come and go', () => {
    const directory = new Directory();
    const all = Array.from({ length: 500 }, (_, nth) => `f${nth}`);
    for (const name of all) directory.write(name, '');
    const module = new Module({ '/mnt': directory });
    const fd = module.open('.', { flags: Open.DIRECTORY, rights: READ });
    const seen = [];
    for (let cookie = 0n; ; ) {
        const entries = module.list(fd, cookie, 300);
        if (entries.length === 0) break;
        seen.push(...names(entries));
        // What was seen goes, and some of what was not; what was there all the time is seen once.
        for (const { name } of entries) if (name.startsWith('f')) directory.remove(name);
        const unseen = directory.list().map(({ name }) => name);
        if (unseen.length > 0 && seen.length % 3 === 0) directory.remove(unseen.at(-1));
        cookie = entries.at(-1).next;
    }
    assert.deepEqual(seen.slice(0, 2), ['.', '..']);
    assert.equal(new Set(seen).size, seen.length);
    assert.deepEqual(directory.list(), []);
    directory.write('new', '');
    assert.deepEqual(names(module.list(fd)), ['.', '..', 'new']);
    // A replaced file keeps its place.
    directory.write('other', '');
    const [, , first] = module.list(fd);
    directory.rename('other', 'new');
    assert.deepEqual(names(module.list(fd, first.next)), []);
    assert.equal(module.list(fd, 2n)[0].ino, BigInt(directory.stat('new').inode));
});

test('an entry that does not fit is given in part, and a buffer that is full is told', () => {
    const directory = new Directory();
    for (let nth = 0; nth < 9; nth += 1) directory.write(`name-${nth}`, '');
    const module = new Module({ '/mnt': directory });
    const used = (room) =>
        module.get('fd_readdir', [3, 0x10000, room, 0n], (view) => view.getUint32(0x5000, true));
    assert.equal(used(100), 100);
    assert.equal(used(1), 1);
    assert.equal(used(4096), 25 + 26 + 9 * 30);
    assert.deepEqual(names(module.list(3, 0n, 100)), ['.', '..', 'name-0']);
});

test('links to directories, and numbers of files', () => {
    const directory = new Directory();
    const module = new Module({ '/mnt': directory });
    directory.mkdir('a/b');
    directory.mkdir('a/c');
    assert.deepEqual([module.stat('a').links, module.stat('a/b').links], [4, 2]);
    const inside = module.open('a/b', { flags: Open.DIRECTORY, rights: READ });
    assert.equal(module.call('path_rename', 3, 'a/b', 3, 'a/c'), 'SUCCESS');
    assert.deepEqual([module.stat('a').links, module.stat('a/c').ino], [3, module.stat(inside).ino]);
    const parent = module.list(inside)[1];
    assert.deepEqual([parent.name, parent.ino], ['..', module.stat('a').ino]);
    assert.equal(module.call('path_remove_directory', 3, 'a/c'), 'SUCCESS');
    assert.equal(module.stat('a').links, 2);
    assert.equal(module.stat(inside).links, 0);
    assert.deepEqual(module.list(inside), []);
    assert.equal(module.open('new', { flags: Open.CREATE, fd: inside }), 'NOENT');
});

test('times', () => {
    const module = new Module({ '/mnt': new Directory() });
    const fd = module.create('f');
    const born = module.stat(fd);
    const age = Date.now() - Number(born.mtime / 1_000_000n);
    assert.ok(age >= 0 && age < 5000);
    assert.equal(module.call('fd_filestat_set_times', fd, 5n, 2n ** 64n - 1n, 5), 'SUCCESS');
    const set = module.stat('f');
    assert.deepEqual([set.atime, set.mtime], [5n, 2n ** 64n - 1n]);
    assert.ok(set.ctime > born.ctime);
    assert.equal(module.call('path_filestat_set_times', 3, 0, 'f', 7n, 7n, 1), 'SUCCESS');
    assert.deepEqual([module.stat(fd).atime, module.stat(fd).mtime], [7n, 2n ** 64n - 1n]);
    assert.equal(module.call('path_filestat_set_times', 3, 0, 'f', 0n, 0n, 8), 'SUCCESS');
    assert.ok(module.stat(fd).mtime >= born.mtime && module.stat(fd).mtime < 2n ** 63n);
    assert.equal(module.call('path_filestat_set_times', 3, 0, 'f', 0n, 0n, 3), 'INVAL');
    module.call('path_symlink', 'f', 3, 'l');
    module.call('path_filestat_set_times', 3, 0, 'l', 1n, 1n, 5);
    assert.equal(module.stat('l').mtime, 1n);
    assert.ok(module.stat('l', 1).mtime > 1n);
});

test('positions', () => {
    const module = new Module({ '/mnt': new Directory() });
    const fd = module.create('f');
    const seek = (by, whence) =>
        module.get('fd_seek', [fd, BigInt(by), whence], (view) => Number(view.getBigUint64(0x5000, true)));
    module.write(fd, 'abcdef');
    assert.deepEqual([seek(2, 0), seek(1, 1), seek(-1, 2)], [2, 3, 5]);
    assert.equal(text(module.read(fd, 9)), 'f');
    assert.deepEqual([seek(-1, 0), seek(0, 9), seek(-9, 1)], ['INVAL', 'INVAL', 'INVAL']);
    assert.equal(
        module.get('fd_tell', [fd], (view) => view.getBigUint64(0x5000, true)),
        6n,
    );
    assert.equal(module.call('fd_allocate', fd, 10n, 10n), 'SUCCESS');
    assert.equal(module.call('fd_allocate', fd, 0n, 1n), 'SUCCESS');
    assert.equal(module.stat(fd).size, 20);
    assert.equal(module.call('fd_allocate', fd, 0n, 0n), 'INVAL');
    for (const name of ['fd_sync', 'fd_datasync']) assert.equal(module.call(name, fd), 'SUCCESS');
    assert.equal(module.call('fd_advise', fd, 0n, 0n, 0), 'SUCCESS');
    assert.equal(module.call('fd_close', fd), 'SUCCESS');
    assert.equal(module.call('fd_close', fd), 'BADF');
    assert.equal(module.read(fd, 1, 0), 'BADF');
});

test('what a module names outside of its memory is an error, and changes nothing', () => {
    const directory = new Directory();
    directory.write('f', 'text');
    const module = new Module({ '/mnt': directory });
    const fd = module.open('f');
    const end = module.memory.buffer.byteLength;
    for (const at of [end, end - 1, -1, -8, 0x7fffffff]) {
        assert.equal(module.call('path_create_directory', 3, at, 4), 'FAULT');
        assert.equal(module.call('path_open', 3, 0, 'new', Open.CREATE, ALL, 0n, 0, at), 'FAULT');
        assert.equal(module.call('path_filestat_get', 3, 0, 'f', at), 'FAULT');
        assert.equal(module.call('fd_filestat_get', fd, at), 'FAULT');
        assert.equal(module.call('fd_fdstat_get', 3, at), 'FAULT');
        assert.equal(module.call('fd_prestat_get', 3, at), 'FAULT');
        assert.equal(module.call('fd_prestat_dir_name', 3, at, 5), 'FAULT');
        assert.equal(module.call('fd_readdir', 3, at, 5, 0n, 0x5000), 'FAULT');
        assert.equal(module.call('fd_pwrite', fd, at, 1, 0n, 0x5000), 'FAULT');
        assert.equal(module.call('path_readlink', 3, 'f', at, 9, 0x5000), 'FAULT');
        module.view.setUint32(0x6000, at, true);
        module.view.setUint32(0x6004, 16, true);
        assert.equal(module.call('fd_write', fd, 0x6000, 1, 0x5000), 'FAULT');
        module.view.setUint32(0x6000, 0x100, true);
        assert.equal(module.call('fd_write', fd, 0x6000, 1, at), 'FAULT');
    }
    assert.equal(module.call('path_create_directory', 3, 0, -1), 'NAMETOOLONG');
    assert.equal(module.call('fd_pread', fd, 0x6000, -1, 0n, 0x5000), 'INVAL');
    module.bytes.set([0xff, 0x41], 0x1000);
    assert.equal(module.call('path_create_directory', 3, 0x1000, 2), 'ILSEQ');
    assert.deepEqual(
        directory.list().map(({ name, size }) => [name, size]),
        [['f', 4]],
    );
    // A name may begin with what elsewhere is a mark of byte order.
    assert.equal(module.call('path_create_directory', 3, '\ufeffx'), 'SUCCESS');
    assert.equal(directory.stat('\ufeffx').kind, 'directory');
});

test('no path leads out', () => {
    const directory = new Directory();
    directory.mkdir('d/e');
    directory.symlink('../..', 'd/up');
    directory.symlink('../../d', 'd/e/round');
    directory.symlink('/d', 'absolute');
    directory.symlink('loop/x', 'loop');
    const module = new Module({ '/mnt': directory });
    for (const path of ['..', '../x', 'd/../..', '/', '/d', 'd/up', 'd/up/x', 'absolute', 'absolute/e']) {
        assert.equal(module.stat(path, 1), 'NOTCAPABLE', path);
    }
    assert.equal(module.stat('d/e/round', 1).ino, module.stat('d').ino);
    assert.equal(module.readlink('absolute'), '/d');
    assert.equal(module.stat('loop', 1), 'LOOP');
    const inside = module.open('d/e', { flags: Open.DIRECTORY, rights: READ });
    assert.equal(module.open('../e', { flags: Open.DIRECTORY, rights: READ, fd: inside }), 'NOTCAPABLE');
});
