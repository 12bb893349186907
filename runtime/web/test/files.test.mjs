// Directories in memory as a page has them.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Directory, FileError, run } from '../dist/index.js';
import { Open } from '../dist/abi.js';
import { preopens } from '../dist/files.js';
import { Module } from './preview1.mjs';

const text = (bytes) => new TextDecoder().decode(bytes);
const code = (name) => ({ name: 'FileError', code: name });

test('what is written is read, and its directories are made', () => {
    const directory = new Directory();
    directory.write('a/b/c.txt', 'ünï');
    const bytes = new Uint8Array([1, 2, 3]);
    directory.write('a/raw', bytes);
    bytes.fill(0);
    assert.equal(text(directory.read('a/b/c.txt')), 'ünï');
    assert.deepEqual(directory.read('a/raw'), new Uint8Array([1, 2, 3]));
    directory.write('a/raw', 'x');
    assert.equal(text(directory.read('a/raw')), 'x');
    const names = (path) => directory.list(path).map(({ name, kind, size }) => `${name} ${kind} ${size}`);
    assert.deepEqual(names(), ['a directory 0']);
    assert.deepEqual(names('a'), ['b directory 0', 'raw file 1']);
    assert.equal(directory.stat('a/b/c.txt').size, 5);
    assert.equal(directory.stat('a/none'), null);
    assert.equal(directory.stat('a/raw/none'), null);
    directory.mkdir('a/b');
    directory.mkdir('q/r/s');
    assert.equal(directory.stat('q/r/s').kind, 'directory');
});

test('names, links and times', () => {
    const directory = new Directory();
    directory.write('a', 'one');
    directory.link('a', 'b');
    directory.symlink('b', 'l');
    directory.write('l', 'two');
    assert.equal(text(directory.read('a')), 'two');
    assert.equal(directory.stat('a').inode, directory.stat('b').inode);
    assert.equal(directory.stat('l').kind, 'symlink');
    assert.equal(directory.readlink('l'), 'b');
    directory.rename('a', 'c');
    assert.equal(directory.stat('a'), null);
    const day = new Date('2001-02-03T04:05:06.789Z');
    directory.setModified('c', day);
    assert.deepEqual(directory.stat('b').modified, day);
    directory.write('d/e/f', 'x');
    directory.link('b', 'd/b');
    directory.remove('d');
    assert.deepEqual(
        directory
            .list()
            .map(({ name }) => name)
            .sort(),
        ['b', 'c', 'l'],
    );
    assert.equal(text(directory.read('b')), 'two');
});

test('errors are one line that names the path', () => {
    const directory = new Directory();
    directory.write('f', '');
    directory.mkdir('d');
    directory.symlink('/f', 'absolute');
    directory.symlink('loop', 'loop');
    assert.throws(() => directory.read('none'), { ...code('ENOENT'), message: /^"none": [^\n]+$/ });
    assert.throws(() => directory.read('d'), code('EISDIR'));
    assert.throws(() => directory.list('f'), code('ENOTDIR'));
    assert.throws(() => directory.write('f/x', ''), code('ENOTDIR'));
    assert.throws(() => directory.write('d', ''), code('EISDIR'));
    assert.throws(() => directory.mkdir('f'), code('ENOTDIR'));
    assert.throws(() => directory.read('loop'), code('ELOOP'));
    for (const path of ['/f', '../f', 'd/../../f', 'absolute', '/new/file']) {
        assert.throws(() => directory.read(path), code('ENOTCAPABLE'), path);
    }
    assert.throws(() => directory.write('/new/file', ''), code('ENOTCAPABLE'));
    assert.throws(() => directory.remove(''), code('EBUSY'));
    assert.throws(() => directory.remove('none'), code('ENOENT'));
    assert.throws(() => directory.write('\ud800', ''), code('EILSEQ'));
    assert.throws(() => directory.write('a\0b', ''), code('EINVAL'));
    assert.throws(() => directory.write('n'.repeat(256), ''), FileError);
    directory.rename('f', 'd/f');
    assert.throws(() => directory.rename('d', 'd/d'), code('EINVAL'));
});

test('a page and a container see the same files', () => {
    const directory = new Directory();
    const module = new Module({ '/mnt': directory });
    directory.write('f', 'of the page');
    const fd = module.open('f');
    assert.equal(text(module.read(fd, 100)), 'of the page');
    const before = module.stat(fd);
    directory.write('f', 'of a  page');
    // However fast, a change has a time of its own.
    assert.ok(module.stat(fd).mtime > before.mtime);
    module.write(fd, 'THE', 3);
    assert.equal(text(directory.read('f')), 'of THEpage');
    directory.remove('f');
    assert.equal(module.open('f'), 'NOENT');
    assert.equal(text(module.read(fd, 100, 0)), 'of THEpage');
    assert.equal(module.write(fd, 'still', 0), 5);
    assert.equal(module.stat(fd).links, 0);
});

test("what a container changes is told, a page's own changes are not", async () => {
    const directory = new Directory();
    const module = new Module({ '/mnt': directory });
    let told = 0;
    directory.onchange = () => (told += 1);
    const later = () => new Promise((resolve) => setTimeout(resolve, 150));
    directory.write('of-the-page', 'x');
    module.stat('of-the-page');
    module.read(module.open('of-the-page'), 5);
    await later();
    assert.equal(told, 0);
    const fd = module.create('f');
    for (let nth = 0; nth < 100; nth += 1) module.write(fd, 'x');
    assert.equal(told, 0);
    await later();
    assert.equal(told, 1);
    module.call('path_unlink_file', 3, 'f');
    await later();
    assert.equal(told, 2);
});

test('nine directories, and paths that are none, are refused before anything runs', async () => {
    const many = (n) =>
        Object.fromEntries(Array.from({ length: n }, (_, nth) => [`/d${nth}`, new Directory()]));
    assert.equal(preopens(many(8)).length, 8);
    const image = new Uint8Array();
    await assert.rejects(run({ image, directories: many(9) }), {
        name: 'RangeError',
        message: /9 .* at most 8/,
    });
    await assert.rejects(run({ image, directories: { data: new Directory() } }), /"data" .*slash/);
});

test('a file grows cheaply, and a hole takes no memory', () => {
    const directory = new Directory();
    const module = new Module({ '/mnt': directory });
    const fd = module.create('f');
    const before = process.memoryUsage().arrayBuffers;
    assert.equal(module.write(fd, 'end', 2 ** 40), 3);
    assert.equal(module.stat(fd).size, 2 ** 40 + 3);
    assert.deepEqual([...module.read(fd, 4, 2 ** 40 - 1)], [0, 101, 110, 100]);
    assert.ok(process.memoryUsage().arrayBuffers - before < 4 << 20);
    assert.throws(() => directory.read('f'), code('EFBIG'));
    // What was cut off is zeros when the file is long again.
    assert.equal(module.call('fd_filestat_set_size', fd, 2n ** 40n + 1n), 'SUCCESS');
    assert.equal(module.call('fd_filestat_set_size', fd, 2n ** 40n + 9n), 'SUCCESS');
    assert.deepEqual([...module.read(fd, 9, 2 ** 40)], [101, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert.equal(module.write(fd, 'x', 2 ** 53 - 1), 'FBIG');
    assert.equal(module.call('fd_filestat_set_size', fd, -1n), 'FBIG');
    const small = module.open('g', { flags: Open.CREATE });
    const started = performance.now();
    for (let nth = 0; nth < 50_000; nth += 1) module.write(small, 'a line of a log, of some length\n');
    assert.equal(directory.stat('g').size, 1_600_000);
    // Were it moved at each write, these would be 40 gigabytes.
    assert.ok(performance.now() - started < 5000);
});
