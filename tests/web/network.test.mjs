// The network of a page without a relay: the container's connections are the page's requests, and the page's
// requests are connections to the container.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { BROWSERS, launch, until } from './browsers.mjs';
import { web } from './images.mjs';
import { PATIENCE, open, shows } from './look.mjs';
import { serve } from './serve.mjs';
import { TOP } from './temporary.mjs';

const { run } = await import(`${TOP}/runtime/web/dist/index.js`);

const BIG = Buffer.alloc(5_000_000, 'some bytes of many, ');
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

/** A server of another site. What begins with /open may be read by all pages. */
async function stranger() {
    const seen = [];
    const server = createServer(async (request, response) => {
        const { method, url, headers } = request;
        const pieces = [];
        for await (const piece of request) pieces.push(piece);
        const body = Buffer.concat(pieces);
        seen.push({ method, url, headers, body });
        if (url.startsWith('/open')) {
            response.setHeader('access-control-allow-origin', '*');
            response.setHeader('access-control-allow-headers', '*');
            response.setHeader('access-control-allow-methods', '*');
            response.setHeader('access-control-expose-headers', '*');
        }
        response.setHeader('x-method', method);
        response.writeHead(/\d{3}/.exec(url)?.[0] ?? 200);
        response.end(url.endsWith('/big') ? BIG : url.endsWith('/echo') ? body : `${method} ${url}\n`);
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address();
    const close = () => {
        server.close();
        server.closeAllConnections();
    };
    return { host: `127.0.0.1:${port}`, seen, close };
}

let dir;
let server;
let other;
before(async () => {
    const options = ['--lift', 'none', '--web-net', 'fetch', '--web-ports', '8080,9000'];
    dir = web('net', { options: ['--memory', '256M', ...options] }).dir;
    server = await serve(dir);
    other = await stranger();
});
after(async () => {
    await server?.close();
    other?.close();
});

describe('a container of the npm package', () => {
    /** Runs a script; what it says. `fetch` answers its requests. */
    async function says(context, script, fetch, options = { net: 'fetch' }) {
        const asked = [];
        const image = `${server.url}image.json`;
        const container = await run({
            image,
            args: ['bash', '-c', script],
            stdin: false,
            ...options,
            ...(fetch && { fetch: (url, init) => (asked.push([init.method, url]), fetch(url, init)) }),
        });
        context.after(() => container.destroy());
        const [out, err] = await Promise.all([container.stdout, container.stderr].map((s) => new Response(s).text()));
        return { asked, out, err, status: await container.exited };
    }
    const answer = (text) => async () => new Response(text);
    const timeout = 180_000;

    test('TLS is trusted by all that most images have', { timeout }, async (context) => {
        const script = [
            'curl -sS https://curl.test/a',
            'curl -sS --tls-max 1.2 https://old.test/b',
            'curl -sS https://10.9.8.7/c',
            'curl -sS -g https://[2001:db8::7]:8443/d',
            `python3 -c 'import requests; print(requests.get("https://requests.test/e").text)'`,
            `python3 -c 'import urllib.request as u; print(u.urlopen("https://urllib.test/f").read().decode())'`,
            `node -e 'fetch("https://node.test/g").then((r) => r.text()).then(console.log)'`,
            'git ls-remote https://git.test/h',
            'openssl s_client -connect s.test:443 -servername s.test </dev/null 2>/dev/null | grep -o "return code: 0"',
        ];
        const { asked, out, err } = await says(context, script.join('; echo; '), answer('fine'));
        const lines = new Set(out.split('\n').filter(Boolean));
        assert.deepEqual([...lines], ['fine', 'return code: 0'], `${out}${err}`);
        assert.equal(err, '');
        assert.deepEqual(asked.map(([method, url]) => `${method} ${url}`), [
            'GET https://curl.test/a',
            'GET https://old.test/b',
            'GET https://10.9.8.7/c',
            'GET https://[2001:db8::7]:8443/d',
            'GET https://requests.test/e',
            'GET https://urllib.test/f',
            'GET https://node.test/g',
            'GET https://git.test/h/info/refs?service=git-upload-pack',
            'GET https://git.test/h/HEAD',
        ]);
    });

    test('requests and responses of all kinds', { timeout }, async (context) => {
        const to = (path) => `http://${other.host}${path}`;
        const through = (url, init) => fetch(url.replace('http://server.test', `http://${other.host}`), init);
        const script = [
            'cd /tmp; s=http://server.test',
            'curl -sS $s/open/big | sha256sum',
            'head -c 4000000 /dev/zero | tr "\\0" x >x; curl -sS -T x $s/open/echo | cmp - x && echo same',
            'curl -sS -H "Transfer-Encoding: chunked" -d @x $s/open/echo | cmp - x && echo same',
            'curl -sSI $s/open/head | tr -d "\\r" | grep -E "^(HTTP|x-method)"',
            'curl -sS -o /dev/null -w "%{http_code} %{num_connects}\\n" $s/open/404 $s/open/204',
            'curl -sS -w " %{http_code}\\n" $s/none/500 -X DELETE',
            'for n in $(seq 20); do curl -sS $s/open/many & done | sort | uniq -c; wait',
            // A reader that goes away.
            'curl -sS $s/open/big | head -c 10; echo',
            'printf "GET /open/a HTTP/1.1\\r\\nHost: server.test\\r\\n\\r\\nGET /open/b HTTP/1.0\\r\\n\\r\\n" >two',
            'exec 3<>/dev/tcp/server.test/80; cat two >&3; grep -a ^GET <&3',
            'curl -sS http://server.test:1/none 2>&1 | cut -c 1-60',
        ];
        const { out, err } = await says(context, script.join('\n'), through);
        const failed = `forelift: http://server.test:1/none: the page cannot fetch it`.slice(0, 60);
        assert.deepEqual(out.trim().split('\n').map((line) => line.trim()), [
            `${sha256(BIG)}  -`,
            'same',
            'same',
            'HTTP/1.1 200 OK',
            'x-method: HEAD',
            '404 1',
            '204 0',
            'DELETE /none/500',
            '500',
            '20 GET /open/many',
            BIG.subarray(0, 10).toString(),
            'GET /open/a',
            'GET /open/b',
            failed,
        ], `${out}${err}`);
        const big = other.seen.find(({ url }) => url === '/open/big');
        assert.equal(big.headers.host, other.host);
        assert.ok(to('/x').startsWith('http://127.0.0.1'));
    });

    test('what is no HTTP ends, or is told no', { timeout }, async (context) => {
        const script = [
            'printf "SSH-2.0-x\\r\\n" >/dev/tcp/a.test/22 && echo connected',
            'exec 3<>/dev/tcp/b.test/443; printf "\\x16\\x03\\x01\\0\\5hello" >&3; timeout 20 cat <&3 >/dev/null; echo $?',
            'curl -sS -i -H "Connection: Upgrade" -H "Upgrade: websocket" http://c.test/ | head -1 | tr -d "\\r"',
            'curl -sS -x http://proxy.test:3128 https://d.test/ 2>&1 | grep -o "response 501"',
            'curl -sS -x http://proxy.test:3128 http://e.test/f',
            'exec 4<>/dev/tcp/i.test/80; printf "GET file://host/etc/passwd HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n" >&4; head -1 <&4 | tr -d "\\r"',
            'timeout 3 bash -c "echo x >/dev/udp/f.test/9" ; ping -c 1 -W 1 g.test | grep -c "0 received"',
            'getent hosts localhost.localdomain nowhere.localhost h.test | tail -1 | cut -d " " -f 1 | cut -d . -f 1,2',
        ];
        const { asked, out } = await says(context, script.join('\n'), answer('proxied\n'));
        const no = 'HTTP/1.1 501 Not Implemented';
        const lines = ['connected', '0', no, 'response 501', 'proxied', no, '1', '198.18'];
        assert.deepEqual(out.trim().split('\n'), lines);
        assert.deepEqual(asked, [['GET', 'http://e.test/f']]);
    });

    test('ports answer; those that do not say so', { timeout }, async (context) => {
        const script = `
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_POST(self):
        body = self.rfile.read(int(self.headers['content-length']))
        self.send_response(201)
        self.send_header('x-path', self.path)
        self.send_header('x-host', self.headers['host'])
        self.send_header('content-length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        if self.path == '/close':
            self.wfile.write(b'HTTP/1.0 200 fine\\r\\n\\r\\nuntil the end')
            self.close_connection = True
            return
        if self.path == '/cut':
            self.wfile.write(b'HTTP/1.1 200 cut\\r\\ncontent-length: 100\\r\\n\\r\\nsome')
            self.close_connection = True
            return
        self.send_response(304 if self.path == '/same' else 200)
        self.send_header('transfer-encoding', 'chunked')
        self.end_headers()
        if self.path == '/same': return
        for n in range(100):
            self.wfile.write(b'1388\\r\\n' + b'%05d' % n * 1000 + b'\\r\\n')
        self.wfile.write(b'0\\r\\n\\r\\n')
    do_HEAD = do_GET
    def log_message(self, *rest): pass
server = http.server.ThreadingHTTPServer(('', 8080), Handler)
print('up', flush=True)
server.serve_forever()
`;
        const image = `${server.url}image.json`;
        const container = await run({ image, args: ['python3', '-c', script], ports: true });
        context.after(() => container.destroy());
        const reader = container.stdout.getReader();
        await reader.read();
        const body = Uint8Array.from({ length: 2_000_000 }, (_, at) => at * 7);
        const posted = await container.fetch(8080, '/a/b?c=d', { method: 'POST', body });
        assert.equal(posted.status, 201);
        assert.equal(posted.headers.get('x-path'), '/a/b?c=d');
        assert.equal(posted.headers.get('x-host'), 'localhost:8080');
        assert.ok(Buffer.from(await posted.arrayBuffer()).equals(Buffer.from(body)));
        const all = Array.from({ length: 20 }, () => container.fetch(8080, '/many').then((r) => r.text()));
        const texts = new Set(await Promise.all(all));
        assert.equal(texts.size, 1);
        assert.equal([...texts][0].length, 500_000);
        assert.equal(await (await container.fetch(8080, 'http://any.test/close')).text(), 'until the end');
        assert.equal((await container.fetch(8080, '/same')).status, 304);
        assert.equal((await container.fetch(8080, '/x', { method: 'HEAD' })).body, null);
        await assert.rejects((await container.fetch(8080, '/cut')).text(), { name: 'PortError', message: /port 8080/ });
        // One that is read no further.
        const left = await container.fetch(8080, '/many');
        await left.body.cancel();
        await assert.rejects(container.fetch(8081, '/'), { name: 'PortError', message: /port 8081 of the container/ });
        await assert.rejects(container.fetch(70000, '/'), RangeError);
        const pending = (await container.fetch(8080, '/many')).text();
        container.destroy();
        await assert.rejects(pending, /the container is gone/);
        await assert.rejects(container.fetch(8080, '/'), /the container is gone/);
    });

    test('ports alone lead nowhere; without them none is reached', { timeout }, async (context) => {
        const script = 'curl -sS http://9.9.9.9/ 2>&1; env | grep -c CERT';
        const { out } = await says(context, script, null, { ports: true });
        assert.match(out, /^curl: \(7\) .*\n0\n$/);
        const container = await run({ image: `${server.url}image.json`, args: ['sleep', '60'] });
        context.after(() => container.destroy());
        await assert.rejects(container.fetch(80, '/'), { name: 'PortError', message: /ports: true/ });
        const relay = run({ image: `${server.url}image.json`, net: 'ws://127.0.0.1:9/', ports: true });
        await assert.rejects(relay, { name: 'RangeError', message: /ports/ });
    });
});

for (const name of BROWSERS) {
    test(`a page fetches for its container, and shows its ports (${name})`, async () => {
        const browser = await launch(name);
        try {
            const page = await open(browser, server.url);
            const sh = async (line, pattern) => {
                await page.type(`clear; ${line}\n`);
                return shows(page, pattern);
            };
            // The address is told by the field: 127.0.0.1 is the container's own.
            await sh(`get() { curl -sS -H 'Host: ${other.host}' http://other.test"$@"; }`, /[#$]$/);
            await sh('get /open/get', /^GET \/open\/get$/m);
            await sh('get /open/big | sha256sum', new RegExp(sha256(BIG)));
            await sh("get /open/echo -d abc -H 'X-Own: 1'; echo", /^abc$/m);
            await sh('get /none', /the page cannot fetch it[^]*CORS/);
            // Its own server, by the name that the request has.
            const { host } = new URL(server.url);
            await sh(`curl -sS -H 'Host: ${host}' http://own.test/NOTICE | wc -l`, /^\d{2,}$/m);

            const document = '<link rel=stylesheet href=/s/x.css><h1>in a port</h1><a href=/next.txt>next</a>';
            await sh(`mkdir -p /tmp/w/s; cd /tmp/w; echo '${document}' >index.html; echo next >next.txt`, /[#$]$/);
            await sh(`echo 'h1 { color: rgb(1, 2, 3) }' >s/x.css; python3 -m http.server 8080 >log 2>&1 &`, /[#$]$/);
            const links = () => page.evaluate(`document.getElementById('ports').innerText`);
            await until(async () => /Port 8080\s*Port 9000/.test(await links()), PATIENCE, links);
            // Its driver has one window.
            if (name === 'webkit') return;
            const view = await browser.open();
            // There is no document while it goes from one to the next.
            const text = () => view.evaluate('document.body?.innerText ?? ""').catch(() => '');
            await until(async () => {
                await view.goto(`${server.url}port/8080/`);
                return /in a port/.test(await text());
            }, PATIENCE, text);
            const color = () => view.evaluate(`getComputedStyle(document.querySelector('h1')).color`);
            await until(async () => (await color()) === 'rgb(1, 2, 3)', PATIENCE, color);
            await view.evaluate(`document.querySelector('a').click()`);
            await until(async () => /^next/.test(await text()), PATIENCE, text);
            assert.equal(await view.evaluate('location.pathname'), '/port/8080/next.txt');
            await view.goto(`${server.url}port/9000/`);
            assert.match(await text(), /forelift: port 9000 of the container/);
            await view.goto(`${server.url}port/22/`);
            assert.match(await text(), /port 22 is not one that the page shows/);
            await page.close();
            await view.goto(`${server.url}port/8080/`);
            assert.match(await text(), /no page with the container is open/);
        } finally {
            await browser.close();
        }
    });
}
