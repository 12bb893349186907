// A static web server that is as plain as `python3 -m http.server`: no Range, no compression, no headers
// beyond the type. What a test wants besides is asked for.
//
//     node serve.mjs DIR [PORT]

import { createReadStream, existsSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const TYPES = {
    '.html': 'text/html',
    '.js': 'text/javascript',
    '.mjs': 'text/javascript',
    '.css': 'text/css',
    '.svg': 'image/svg+xml',
    '.json': 'application/json',
    '.wasm': 'application/wasm',
};

/**
 * Serves the directory `dir` on a port of its own. Options: `brotli` (serves a `.br` file in place of a plain
 * one), `headers` (for every answer), `trouble(path)` (`'missing'`, `'page'`, `'cut'` or `'broken'` for a
 * file that is to fail so), `hold(path)` (whether it is never answered), `also` (other directories by the
 * beginnings of their addresses), `port`.
 */
export async function serve(
    dir,
    { brotli = false, headers = {}, trouble = () => null, hold = () => false, also = {}, port = 0 } = {},
) {
    const requests = [];
    let bytes = 0;
    const server = createServer((request, response) => {
        const { pathname } = new URL(request.url, 'http://localhost');
        requests.push(pathname);
        const [front, from] = Object.entries(also).find(([front]) => pathname.startsWith(front)) ?? ['/', dir];
        let path = join(from, normalize(decodeURIComponent(`/${pathname.slice(front.length)}`)));
        if (pathname.endsWith('/')) path = join(path, 'index.html');
        if (hold(pathname)) return;
        const what = trouble(pathname);
        if (what === 'missing' || !existsSync(path) || !statSync(path).isFile()) {
            response.writeHead(404, headers).end('not found');
            return;
        }
        if (what === 'page') {
            response.writeHead(200, { 'content-type': 'text/html', ...headers });
            return response.end('<!doctype html><title>An application</title><p>Not found');
        }
        const type = TYPES[extname(path)] ?? 'application/octet-stream';
        const head = { 'content-type': type, ...headers };
        if (brotli && existsSync(`${path}.br`) && /\bbr\b/.test(request.headers['accept-encoding'] ?? '')) {
            path += '.br';
            head['content-encoding'] = 'br';
        }
        const { size, mtime } = statSync(path);
        const end = what === 'cut' ? Math.floor(size / 2) : size;
        // A file that is shorter than it was is a whole answer; a connection that breaks is not.
        head['content-length'] = what === 'broken' ? size : end;
        head['last-modified'] = mtime.toUTCString();
        response.writeHead(200, head);
        if (request.method === 'HEAD') return response.end();
        if (what === 'broken') {
            response.write(Buffer.alloc(Math.min(10, size)), () => response.destroy());
            return;
        }
        createReadStream(path, { end: end - 1 })
            .on('data', (chunk) => (bytes += chunk.length))
            .pipe(response);
    });
    await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
    return {
        url: `http://127.0.0.1:${server.address().port}/`,
        requests,
        /** Bytes of files that were sent. */
        bytes: () => bytes,
        close: () =>
            new Promise((resolve) => {
                server.close(resolve);
                server.closeAllConnections();
            }),
    };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
    const { url } = await serve(process.argv[2] ?? '.', { port: Number(process.argv[3] ?? 8000) });
    console.error(`serving at ${url}`);
}
