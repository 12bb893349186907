// Copies a host directory into one in memory (`Directory` of runtime/web), and back.

import fs from 'node:fs';
import { join } from 'node:path';

/** The host's files other than these are neither copied nor touched. */
const kindOf = (stat) =>
    stat.isFile() ? 'file' : stat.isDirectory() ? 'directory' : stat.isSymbolicLink() ? 'symlink' : null;

/** Whether a file is the one that was copied, as it was. */
const isSame = (a, b) => a?.inode === b.inode && a.size === b.size && +a.modified === +b.modified;

/** Copies `host` into `directory`; gives what is known of each file of it. */
export function load(host, directory) {
    const names = new Map();
    const known = new Map();
    const copy = (path) => {
        for (const name of fs.readdirSync(join(host, path))) {
            const [from, to] = [join(host, path, name), join(path, name)];
            const stat = fs.lstatSync(from);
            const kind = kindOf(stat);
            const other = names.get(stat.ino);
            if (kind === 'directory') {
                directory.mkdir(to);
                copy(to);
            } else if (kind !== null && other !== undefined) directory.link(other, to);
            else if (kind === 'file') directory.write(to, fs.readFileSync(from));
            else if (kind === 'symlink') directory.symlink(fs.readlinkSync(from), to);
            if (kind === null) continue;
            if (kind !== 'directory') names.set(stat.ino, to);
            directory.setModified(to, stat.mtime);
            known.set(to, directory.stat(to));
        }
    };
    copy('');
    return known;
}

/** Makes `host` what `directory` is, where that differs from what `load` has given. */
export function store(directory, host, before) {
    const names = new Map();
    const copy = (path) => {
        const entries = directory.list(path);
        const kinds = new Map(entries.map(({ name, kind }) => [name, kind]));
        for (const name of fs.readdirSync(join(host, path))) {
            const at = join(host, path, name);
            const kind = kindOf(fs.lstatSync(at));
            if (kind !== null && kind !== kinds.get(name)) fs.rmSync(at, { recursive: true });
        }
        for (const entry of entries) {
            const from = join(path, entry.name);
            const to = join(host, from);
            const other = names.get(entry.inode);
            const isKept = isSame(before.get(from), entry);
            if (entry.kind === 'directory') {
                fs.mkdirSync(to, { recursive: true });
                copy(from);
            } else if (!isKept || other !== undefined) {
                // Never written in place: the host's file may have other names.
                fs.rmSync(to, { force: true });
                if (other !== undefined) fs.linkSync(other, to);
                else if (entry.kind === 'file') fs.writeFileSync(to, directory.read(from));
                else fs.symlinkSync(directory.readlink(from), to);
            }
            // The host's time of what has not changed may be a finer one.
            if (!isKept) fs.lutimesSync(to, entry.modified, entry.modified);
            if (entry.kind !== 'directory') names.set(entry.inode, to);
        }
    };
    copy('');
}
