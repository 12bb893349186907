/**
 * Numbers that a module and its host agree on: WASI preview 1 (snapshot_preview1), and what Forelift's
 * runtime has beyond it (`runtime/abi`: `embed.rs`, `step.rs`).
 *
 * @module
 */

/** Errors of WASI preview 1, as far as this host gives them. */
export const Errno = {
  SUCCESS: 0,
  AGAIN: 6,
  BADF: 8,
  BUSY: 10,
  EXIST: 20,
  FAULT: 21,
  FBIG: 22,
  ILSEQ: 25,
  INVAL: 28,
  ISDIR: 31,
  LOOP: 32,
  MFILE: 33,
  NAMETOOLONG: 37,
  NOENT: 44,
  NOSPC: 51,
  NOSYS: 52,
  NOTDIR: 54,
  NOTEMPTY: 55,
  PERM: 63,
  PIPE: 64,
  ROFS: 69,
  SPIPE: 70,
  XDEV: 75,
  NOTCAPABLE: 76,
} as const;

/** Types of descriptors and of files. */
export const FileType = {
  UNKNOWN: 0,
  CHARACTER_DEVICE: 2,
  DIRECTORY: 3,
  REGULAR_FILE: 4,
  SOCKET_STREAM: 6,
  SYMBOLIC_LINK: 7,
} as const;

/** `fdflags`: writes go to the end of the file. */
export const FLAG_APPEND = 1;
/** `fdflags`: the descriptor does not block. */
export const FLAG_NONBLOCK = 4;
/** `rights`: reading, writing, polling. */
export const RIGHTS = { READ: 1n << 1n, WRITE: 1n << 6n, POLL: 1n << 27n } as const;
/** `rights`: all that there are for files and directories, those up to `path_unlink_file`. */
export const RIGHTS_FILES = (1n << 27n) - 1n;
/** `rights`: those of them that change nothing. */
export const RIGHTS_LOOK = [1n, 2n, 3n, 4n, 5n, 7n, 13n, 14n, 15n, 18n, 21n].reduce(
  (sum, bit) => sum | (1n << bit),
  0n,
);

/** `lookupflags`: a symbolic link in a path's last component is followed. */
export const LOOKUP_FOLLOW = 1;
/** `oflags` of `path_open`. */
export const Open = { CREATE: 1, DIRECTORY: 2, EXCLUSIVE: 4, TRUNCATE: 8 } as const;
/** `fstflags`: which times are set, and to what. */
export const SetTime = { ATIM: 1, ATIM_NOW: 2, MTIM: 4, MTIM_NOW: 8 } as const;
/** Where `fd_seek` counts from. */
export const Whence = { SET: 0, CUR: 1, END: 2 } as const;

/** Types of events of `poll_oneoff`. */
export const EventType = { CLOCK: 0 } as const;

/** A module's end, where it is not in steps: what its `proc_exit` throws. */
export class Exit extends Error {
  constructor(readonly status: number) {
    super(`the module has exited with ${status}`);
  }
}

/** Clocks of `clock_time_get`. */
export const Clock = { REALTIME: 0, MONOTONIC: 1 } as const;

/** Descriptor of the records that tell the container of signals and of its terminal. */
export const CONTROL_FD = 1000;
/** Descriptor of a root file system outside of the module. */
export const ROOT_FD = 1300;
/** Descriptor of the container's link, a stream of frames, when there is one. */
export const LINK_FD = 1200;

/** Descriptors of preopened directories: these, one after the other. */
export const PREOPEN_FD = 3;
/** The first descriptor of what is opened in them, beyond those with a meaning of their own. */
export const OPENED_FD = 0x10000;
/** Most directories that can be mounted (`COUNT_SHARES` of the runtime). */
export const MOST_DIRECTORIES = 8;

/** Bytes of a record: its kind and three operands, each a little-endian word of 32 bits. */
export const RECORD_SIZE = 16;

/** What happens to a container, besides what comes on its streams. */
export type Event =
  | { kind: 'signal'; number: number }
  | { kind: 'stop' }
  | { kind: 'resize'; rows: number; cols: number }
  | { kind: 'terminal'; tty: boolean; raw: boolean; rows: number; cols: number };

const cells = (n: number) => Math.max(0, Math.min(65535, Math.trunc(n)));

/** The words of an event's record. */
export function record(event: Event): [number, number, number, number] {
  switch (event.kind) {
    case 'signal':
      return [1, event.number, 0, 0];
    case 'stop':
      return [2, 0, 0, 0];
    case 'resize':
      return [3, cells(event.rows), cells(event.cols), 0];
    case 'terminal':
      return [4, (event.tty ? 1 : 0) | (event.raw ? 2 : 0), cells(event.rows), cells(event.cols)];
  }
}

/** What a host does after a step. */
export type Step =
  | { kind: 'again' }
  /** Wait for so many milliseconds (`Infinity`: for ever), or until something comes. */
  | { kind: 'idle'; ms: number }
  | { kind: 'ended'; status: number };

const VALUE = (1n << 56n) - 1n;

/** Reads what the export `forelift_step` gives. */
export function step(word: bigint): Step {
  const unsigned = BigInt.asUintN(64, word);
  const value = unsigned & VALUE;
  switch (unsigned >> 56n) {
    case 0n:
      return { kind: 'again' };
    case 1n:
      return { kind: 'idle', ms: value === VALUE ? Infinity : Number(value) / 1e6 };
    case 2n:
      return { kind: 'ended', status: Number(value) };
    default:
      throw new TypeError(`forelift_step gave ${unsigned.toString(16)}: this package is older than the image`);
  }
}
