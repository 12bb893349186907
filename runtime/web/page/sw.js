// Opens the page without a network, once it was there with one: its document and its programs come from the
// cache then. Everything else the page has from the cache by itself. While there is a network, nothing here
// is in its way.

const CACHE = 'forelift';
const OURS = new Set(['document', 'script', 'style', 'worker']);

addEventListener('fetch', (event) => {
  const { request } = event;
  if (request.method !== 'GET' || !OURS.has(request.destination)) return;
  const answer = fetch(request).catch(async (error) => {
    const cache = await caches.open(CACHE);
    const kept = await cache.match(request, { ignoreSearch: true });
    if (kept === undefined) throw error;
    return kept;
  });
  event.respondWith(answer);
});
