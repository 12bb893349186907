/**
 * The page's side of `port/N/`: its service worker has the page answer what is asked for below that address,
 * and the page asks the container.
 *
 * @module
 */

import { give, unpack, type Sent } from './carry.js';
import type { Container } from './container.js';

/** What the service worker sends, with the port for the answer. */
interface Asked {
  kind: 'port';
  port: number;
  request: Sent;
}

/** Serves these ports of the container that there is, with links to them in `place`. */
export async function serve(ports: readonly number[], place: HTMLElement, current: () => Container | null): Promise<void> {
  if (ports.length === 0 || !('serviceWorker' in navigator)) return;
  const { serviceWorker } = navigator;
  serviceWorker.addEventListener('message', ({ data, ports: [back] }: MessageEvent<Asked>) => {
    if (back === undefined || data.kind !== 'port') return;
    void give(back, answer(data, ports, current()));
  });
  serviceWorker.startMessages();
  const { active } = await serviceWorker.ready;
  if (active === null) return;
  const links = ports.map((port) => {
    const link = document.createElement('a');
    link.className = 'button';
    link.href = `port/${port}/`;
    link.target = '_blank';
    link.textContent = `Port ${port}`;
    return link;
  });
  place.replaceChildren(...links);
}

async function answer({ port, request }: Asked, ports: readonly number[], container: Container | null): Promise<Response> {
  if (!ports.includes(port)) throw new Error(`port ${port} is not one that the page shows (--web-ports)`);
  if (container === null) throw new Error('the container does not run: reset it in its page');
  return container.fetch(port, unpack(request));
}
