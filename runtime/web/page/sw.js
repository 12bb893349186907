// Opens the page without a network, once it was there with one: its document and its programs come from the
// cache then. Everything else the page has from the cache by itself. While there is a network, nothing here
// is in its way.
//
// And what is below port/N/ comes from port N of the container, where the page shows that port: the page asks
// it (ports.ts), over a channel for each request (carry.ts).

const CACHE = 'forelift';
const OURS = new Set(['document', 'script', 'style', 'worker']);
const PORT = /^port\/(\d{1,5})(?:\/|$)/;
// Milliseconds that a page may take to say that it is there.
const PATIENCE = 10_000;
// The ports of documents that were opened here, by their clients.
const opened = new Map();

// The part of an address that is below the page's; null for others.
function below(address) {
  const { scope } = registration;
  return address?.startsWith(scope) ? address.slice(scope.length) : null;
}

addEventListener('fetch', (event) => {
  const { request } = event;
  const [, port] = PORT.exec(below(request.url) ?? '') ?? [];
  if (port !== undefined) {
    if (event.resultingClientId) opened.set(event.resultingClientId, port);
    event.respondWith(fromPort(Number(port), request));
    return;
  }
  // A document of the container's asks for its own root.
  const [, from] = PORT.exec(below(request.referrer) ?? '') ?? [undefined, opened.get(event.clientId)];
  const path = below(request.url);
  if (from !== undefined && path !== null) {
    const moved = `${registration.scope}port/${from}/${path}`;
    const isPage = request.mode === 'navigate';
    event.respondWith(isPage ? Response.redirect(moved, 307) : fromPort(Number(from), request, moved));
    return;
  }
  if (request.method !== 'GET' || !OURS.has(request.destination)) return;
  const answer = fetch(request).catch(async (error) => {
    const cache = await caches.open(CACHE);
    const kept = await cache.match(request, { ignoreSearch: true });
    if (kept === undefined) throw error;
    return kept;
  });
  event.respondWith(answer);
});

async function fromPort(port, request, address = request.url) {
  // Relative addresses are of the directory.
  const root = `${registration.scope}port/${port}`;
  if (address === root) return Response.redirect(`${root}/`, 307);
  const all = await clients.matchAll({ type: 'window', includeUncontrolled: true });
  // Those that are in front come first.
  const page = all.find(({ url }) => !PORT.test(below(url) ?? 'port/0/'));
  if (page === undefined) return failure('no page with the container is open: open it, and leave it open');
  const path = `/${address.slice(root.length + 1)}`;
  const { method } = request;
  const headers = [...request.headers].filter(([name]) => name !== 'referer');
  const body = method === 'GET' || method === 'HEAD' ? null : await request.arrayBuffer();
  const sent = { method, url: new URL(path, `http://localhost:${port}`).href, headers, body };
  const { port1, port2 } = new MessageChannel();
  page.postMessage({ kind: 'port', port, request: sent }, [port2]);
  return answer(port1, root, port);
}

// The response that comes over a channel.
function answer(channel, root, port) {
  return new Promise((resolve) => {
    let controller;
    let pulled = () => undefined;
    const body = new ReadableStream(
      {
        start: (given) => (controller = given),
        pull: () => {
          channel.postMessage('pull');
          return new Promise((done) => (pulled = done));
        },
        cancel: () => channel.postMessage('cancel'),
      },
      { highWaterMark: 0 },
    );
    const late = setTimeout(() => resolve(failure('the page does not answer: reload it')), PATIENCE);
    channel.onmessage = ({ data }) => {
      if (data === null) controller.close();
      else if (data instanceof Uint8Array) controller.enqueue(data);
      else if ('alive' in data) clearTimeout(late);
      else if ('error' in data) {
        resolve(failure(data.error));
        controller.error(new Error(data.error));
      } else {
        const headers = new Headers(data.headers);
        const to = headers.get('location');
        const own = new RegExp(`^(https?://localhost:${port})?(?=/)(?!//)`);
        if (to !== null) headers.set('location', to.replace(own, root));
        const isEmpty = [204, 205, 304].includes(data.status);
        resolve(new Response(isEmpty ? null : body, { ...data, headers }));
      }
      clearTimeout(late);
      pulled();
    };
  });
}

function failure(why) {
  const headers = { 'content-type': 'text/plain; charset=utf-8' };
  return new Response(`forelift: ${why}\n`, { status: 502, headers });
}
