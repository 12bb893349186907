// A stream socket as a descriptor of WASI preview 1, for `--net-stream fd:N` of an image.
//
// The module runs on the main thread, which sleeps in Atomics.wait and never comes to Node's event loop. So a
// worker owns the socket, and two rings of bytes in shared memory lie between the threads. Node's own imports
// are wrapped: what is about the descriptor FD is done here, everything else is passed on.

import { createHash, randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';

export const FD = 1200;

// Errors, types of events and of descriptors, flags (WASI preview 1).
const SUCCESS = 0, EAGAIN = 6, EPIPE = 64;
const CLOCK = 0, FD_READ = 1, FD_WRITE = 2;
const SOCKET_STREAM = 6, NONBLOCK = 4, ABSOLUTE = 1;
const SUBSCRIPTION = 48, EVENT = 32;

const RING = 1 << 20;
// Words that both threads have: how many bytes were put into each ring and taken from it (modulo 2^32), a
// bell for the main thread, whether the worker has been told of news, and whether the stream has ended.
const [PUT_IN, TAKEN_IN, PUT_OUT, TAKEN_OUT, BELL, TOLD, ENDED, WORDS] = [0, 1, 2, 3, 4, 5, 6, 7];

/** A ring of bytes with one thread at each end. */
class Ring {
    constructor(words, memory, put, taken) {
        Object.assign(this, { words, bytes: new Uint8Array(memory), put, taken });
    }

    used() {
        return (Atomics.load(this.words, this.put) - Atomics.load(this.words, this.taken)) >>> 0;
    }

    room() {
        return RING - this.used();
    }

    /** Puts in what there is room for; how many bytes that was. */
    write(from) {
        const length = Math.min(from.length, this.room());
        const at = (Atomics.load(this.words, this.put) >>> 0) % RING;
        const first = Math.min(length, RING - at);
        this.bytes.set(from.subarray(0, first), at);
        this.bytes.set(from.subarray(first, length), 0);
        Atomics.add(this.words, this.put, length);
        return length;
    }

    /** Takes as many bytes as there are and fit; how many that was. */
    read(into) {
        const length = Math.min(into.length, this.used());
        const at = (Atomics.load(this.words, this.taken) >>> 0) % RING;
        const first = Math.min(length, RING - at);
        into.set(this.bytes.subarray(at, at + first), 0);
        into.set(this.bytes.subarray(0, length - first), first);
        Atomics.add(this.words, this.taken, length);
        return length;
    }
}

function rings({ words, incoming, outgoing }) {
    return [
        new Ring(words, incoming, PUT_IN, TAKEN_IN),
        new Ring(words, outgoing, PUT_OUT, TAKEN_OUT),
    ];
}

/** Connects to tcp:HOST:PORT or ws://HOST:PORT/PATH. */
export async function open(address) {
    const shared = {
        address,
        words: new Int32Array(new SharedArrayBuffer(4 * WORDS)),
        incoming: new SharedArrayBuffer(RING),
        outgoing: new SharedArrayBuffer(RING),
    };
    const worker = new Worker(new URL(import.meta.url), { workerData: shared });
    await new Promise((resolve, reject) => {
        worker.once('message', (error) => (error ? reject(new Error(`${address}: ${error}`)) : resolve()));
        worker.once('error', reject);
    });
    return new Stream(shared, worker);
}

/** The main thread's end. */
class Stream {
    constructor(shared, worker) {
        [this.incoming, this.outgoing] = rings(shared);
        Object.assign(this, { words: shared.words, worker });
    }

    close() {
        return this.worker.terminate();
    }

    ended() {
        return Atomics.load(this.words, ENDED) === 1;
    }

    tell() {
        if (Atomics.exchange(this.words, TOLD, 1) === 0) this.worker.postMessage(null);
    }

    ready(kind) {
        return this.ended() || (kind === FD_READ ? this.incoming.used() > 0 : this.outgoing.room() > 0);
    }

    /** Wraps a module's imports; `memory` gives its memory. */
    wrap(imports, memory) {
        const view = () => new DataView(memory().buffer);
        const buffers = (at, count) => {
            const words = view();
            const place = (n) => [words.getUint32(at + 8 * n, true), words.getUint32(at + 8 * n + 4, true)];
            return Array.from({ length: count }, (_, n) => new Uint8Array(memory().buffer, ...place(n)));
        };
        const all = (lists, at, move) => {
            let done = 0;
            for (const list of lists) {
                const moved = move(list);
                done += moved;
                if (moved < list.length) break;
            }
            view().setUint32(at, done, true);
            if (done > 0) this.tell();
            return done;
        };
        return {
            ...imports,
            fd_read: (fd, at, count, result) => {
                if (fd !== FD) return imports.fd_read(fd, at, count, result);
                // What came before the end is looked for after it.
                const ended = this.ended();
                const done = all(buffers(at, count), result, (list) => this.incoming.read(list));
                return done > 0 || ended ? SUCCESS : EAGAIN;
            },
            fd_write: (fd, at, count, result) => {
                if (fd !== FD) return imports.fd_write(fd, at, count, result);
                if (this.ended()) return EPIPE;
                const done = all(buffers(at, count), result, (list) => this.outgoing.write(list));
                return done > 0 ? SUCCESS : EAGAIN;
            },
            fd_fdstat_get: (fd, at) => {
                if (fd !== FD) return imports.fd_fdstat_get(fd, at);
                new Uint8Array(memory().buffer, at, 24).fill(0);
                view().setUint8(at, SOCKET_STREAM);
                view().setUint16(at + 2, NONBLOCK, true);
                return SUCCESS;
            },
            poll_oneoff: (input, output, count, result) =>
                this.poll(imports, memory(), input, output, count, result),
        };
    }

    poll(imports, memory, input, output, count, result) {
        const size = SUBSCRIPTION * count;
        const asked = new Uint8Array(memory.buffer, input, size).slice();
        const words = new DataView(asked.buffer);
        const subscriptions = Array.from({ length: count }, (_, n) => {
            const at = SUBSCRIPTION * n;
            const kind = words.getUint8(at + 8);
            const isClock = kind === CLOCK;
            return { at, kind, isClock, mine: !isClock && words.getUint32(at + 16, true) === FD };
        });
        if (!subscriptions.some((s) => s.mine)) return imports.poll_oneoff(input, output, count, result);
        for (const s of subscriptions.filter((s) => s.isClock)) s.end = deadline(words, s.at);
        const others = subscriptions.filter((s) => !s.mine && !s.isClock);
        const end = Math.min(...subscriptions.map((s) => s.end ?? Infinity));
        let events = [];
        let pause = 1;
        for (;;) {
            // Before anything is looked at: what happens then ends the wait.
            const bell = Atomics.load(this.words, BELL);
            const now = performance.now();
            const due = (s) => (s.isClock ? s.end <= now : s.mine && this.ready(s.kind));
            events = subscriptions.filter(due).map((s) => event(asked, s));
            if (others.length > 0) {
                const answer = ask(imports, memory, input, output, result, asked, others);
                if (typeof answer === 'number') return answer;
                events.push(...answer);
            }
            if (events.length > 0) break;
            // Others cannot end a wait: they are asked again and again, less and less often.
            const slice = others.length > 0 ? pause : Infinity;
            Atomics.wait(this.words, BELL, bell, Math.max(0, Math.min(end - now, slice)));
            pause = Math.min(2 * pause, 20);
        }
        events.forEach((bytes, n) => new Uint8Array(memory.buffer, output + EVENT * n, EVENT).set(bytes));
        new DataView(memory.buffer).setUint32(result, events.length, true);
        return SUCCESS;
    }
}

/** When a clock's subscription is due, in ms of performance.now. */
function deadline(words, at) {
    const [id, timeout] = [words.getUint32(at + 16, true), Number(words.getBigUint64(at + 24, true)) / 1e6];
    if ((words.getUint16(at + 40, true) & ABSOLUTE) === 0) return performance.now() + timeout;
    const now = id === 0 ? Date.now() : Number(process.hrtime.bigint()) / 1e6;
    return performance.now() + timeout - now;
}

/** An event without an error. */
function event(asked, { at, kind }) {
    const bytes = new Uint8Array(EVENT);
    bytes.set(asked.subarray(at, at + 8));
    bytes[10] = kind;
    return bytes;
}

/** Asks Node which of the other descriptors are ready: their events, or an error's number. */
function ask(imports, memory, input, output, result, asked, others) {
    // One more is sure to fit: the stream's. Node reports no descriptor when the timeout is 0.
    const clock = new Uint8Array(SUBSCRIPTION);
    const words = new DataView(clock.buffer);
    clock.fill(0xff, 0, 8);
    words.setUint32(16, 1, true);
    words.setBigUint64(24, 1_000_000n, true);
    const list = [...others.map(({ at }) => asked.subarray(at, at + SUBSCRIPTION)), clock];
    list.forEach((bytes, n) => new Uint8Array(memory.buffer, input + SUBSCRIPTION * n, SUBSCRIPTION).set(bytes));
    const errno = imports.poll_oneoff(input, output, list.length, result);
    new Uint8Array(memory.buffer, input, asked.length).set(asked);
    if (errno !== SUCCESS) return errno;
    const count = new DataView(memory.buffer).getUint32(result, true);
    const events = Array.from({ length: count }, (_, n) =>
        new Uint8Array(memory.buffer, output + EVENT * n, EVENT).slice(),
    );
    return events.filter((bytes) => bytes[10] !== CLOCK);
}

// What follows is the worker's.

/** Bytes over TCP. */
function tcp(address, on) {
    const at = address.lastIndexOf(':');
    const host = address.slice(0, at).replace(/^\[|\]$/g, '');
    const socket = connect({ host, port: Number(address.slice(at + 1)), noDelay: true });
    socket.on('error', (error) => on.end(error.message));
    socket.on('close', () => on.end('the other end has closed the connection'));
    socket.on('drain', on.drain);
    return socket;
}

/** The first bytes of a frame of a client's: final, masked (RFC 6455, section 5.2). */
function head(opcode, length, mask) {
    const long = length < 126 ? [length] : length < 65536 ? [126] : [127];
    const bytes = Buffer.alloc(2 + (long[0] < 126 ? 0 : long[0] === 126 ? 2 : 8));
    bytes.set([0x80 | opcode, 0x80 | long[0]]);
    if (long[0] === 126) bytes.writeUInt16BE(length, 2);
    if (long[0] === 127) bytes.writeBigUInt64BE(BigInt(length), 2);
    return Buffer.concat([bytes, mask]);
}

/** Bytes over a WebSocket: as much of RFC 6455 as a stream in binary messages needs. */
function web(url, on) {
    const { host, hostname, port, pathname, search } = new URL(url);
    const key = randomBytes(16).toString('base64');
    const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    const socket = tcp(`${hostname}:${port || 80}`, on);
    let [input, isOpen] = [Buffer.alloc(0), false];
    const send = (opcode, bytes) => {
        const mask = randomBytes(4);
        const masked = Buffer.from(bytes);
        for (let n = 0; n < masked.length; n++) masked[n] ^= mask[n & 3];
        return socket.write(Buffer.concat([head(opcode, masked.length, mask), masked]));
    };
    const answer = () => {
        const end = input.indexOf('\r\n\r\n');
        if (end < 0) return false;
        const text = input.subarray(0, end).toString('latin1');
        input = input.subarray(end + 4);
        const given = /\r\nsec-websocket-accept: *(\S+)/i.exec(text)?.[1];
        if (!/^HTTP\/1\.1 101 /.test(text) || given !== accept) {
            on.end(`no WebSocket there: ${text.split('\r\n')[0]}`);
            socket.destroy();
            return false;
        }
        isOpen = true;
        on.open();
        return true;
    };
    const frame = () => {
        if (input.length < 2) return false;
        const [opcode, short] = [input[0] & 15, input[1] & 127];
        const start = short < 126 ? 2 : short === 126 ? 4 : 10;
        if (input.length < start) return false;
        const length =
            short < 126 ? short : short === 126 ? input.readUInt16BE(2) : Number(input.readBigUInt64BE(2));
        if (input.length < start + length) return false;
        const data = input.subarray(start, start + length);
        input = input.subarray(start + length);
        // Continuations and binary messages are bytes; then close, and ping.
        if (opcode === 0 || opcode === 2) on.data(data);
        if (opcode === 8) socket.end();
        if (opcode === 9) send(10, data);
        return true;
    };
    socket.on('connect', () =>
        socket.write(
            `GET ${pathname}${search} HTTP/1.1\r\nHost: ${host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
                `Sec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: 13\r\n\r\n`,
        ),
    );
    socket.on('data', (data) => {
        input = Buffer.concat([input, data]);
        while (isOpen ? frame() : answer());
    });
    return { socket, write: (bytes) => send(2, bytes) };
}

function serve(shared) {
    const { address, words } = shared;
    const [incoming, outgoing] = rings(shared);
    const waiting = [];
    let [isOpen, isFull, isOver, stream] = [false, false, false, null];
    const ring = () => {
        Atomics.add(words, BELL, 1);
        Atomics.notify(words, BELL);
    };
    // Moves what there is room for, both ways.
    const move = () => {
        Atomics.store(words, TOLD, 0);
        let moved = false;
        while (waiting.length > 0) {
            const done = incoming.write(waiting[0]);
            moved ||= done > 0;
            if (done < waiting[0].length) {
                waiting[0] = waiting[0].subarray(done);
                stream.socket.pause();
                break;
            }
            waiting.shift();
        }
        if (waiting.length === 0) stream.socket.resume();
        while (!isFull && !isOver && outgoing.used() > 0) {
            const bytes = Buffer.alloc(Math.min(outgoing.used(), 65536));
            outgoing.read(bytes);
            isFull = !stream.write(bytes);
            moved = true;
        }
        if (isOver && waiting.length === 0) {
            // Only after everything that came before.
            Atomics.store(words, ENDED, 1);
            moved = true;
        }
        if (moved) ring();
    };
    const on = {
        open: () => {
            isOpen = true;
            parentPort.postMessage('');
        },
        data: (data) => {
            waiting.push(data);
            move();
        },
        drain: () => {
            isFull = false;
            move();
        },
        end: (reason) => {
            if (!isOpen) parentPort.postMessage(reason);
            isOver = true;
            if (stream !== null) move();
        },
    };
    parentPort.on('message', move);
    if (address.startsWith('ws://')) {
        stream = web(address, on);
    } else if (address.startsWith('tcp:')) {
        const socket = tcp(address.slice(4), on);
        socket.on('connect', on.open);
        socket.on('data', on.data);
        stream = { socket, write: (bytes) => socket.write(bytes) };
    } else {
        on.end('write it as tcp:HOST:PORT or ws://HOST:PORT/PATH');
    }
}

if (!isMainThread) serve(workerData);
