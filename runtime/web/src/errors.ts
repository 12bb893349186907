/**
 * What an operation on files fails with.
 *
 * @module
 */

import { Errno } from './abi.js';

/** What each error is to a reader. */
const MEANING = {
  BADF: 'the descriptor is not open for this',
  BUSY: 'the directory itself can be neither moved nor removed',
  EXIST: 'there is something of this name already',
  FAULT: 'the address is outside of memory',
  FBIG: 'the file is too large',
  ILSEQ: 'this is no UTF-8',
  INVAL: 'this cannot be done with it',
  ISDIR: 'this is a directory',
  LOOP: 'too many symbolic links',
  MFILE: 'too many open files',
  NAMETOOLONG: 'names have up to 255 bytes, paths up to 4095',
  NOENT: 'there is no such file or directory',
  NOSPC: 'there is no memory left',
  NOTDIR: 'this is no directory',
  NOTEMPTY: 'the directory is not empty',
  PERM: 'this is not possible for a directory',
  ROFS: 'the directory is mounted read-only',
  SPIPE: 'this has no position',
  XDEV: 'the two lie in different directories of the host',
  NOTCAPABLE: 'paths begin in the directory, and stay in it',
} as const satisfies Partial<Record<keyof typeof Errno, string>>;

/** An error of files, by WASI's name. */
export type FileErrorName = keyof typeof MEANING;

/** An operation on a {@link Directory} that failed. */
export class FileError extends Error {
  override name = 'FileError';
  /** The error's name, as POSIX has it: `ENOENT`, for example. */
  readonly code: `E${FileErrorName}`;

  /** The error of this name, of what was done with `path`. */
  constructor(
    readonly error: FileErrorName,
    path?: string,
  ) {
    super(path === undefined ? MEANING[error] : `${JSON.stringify(path)}: ${MEANING[error]}`);
    this.code = `E${error}`;
  }

  /** Its number in WASI preview 1. */
  get errno(): number {
    return Errno[this.error];
  }
}
