/**
 * Requests and responses between threads, over a `MessagePort` for each: not all browsers can pass on
 * streams.
 *
 * @module
 */

import { Pulled } from './pulled.js';

/** Statuses whose responses have no body (Fetch, section "Statuses"). */
export const WITHOUT_BODY: ReadonlySet<number> = new Set([204, 205, 304]);

/** A request that can be sent. */
export interface Sent {
  method: string;
  url: string;
  headers: [string, string][];
  body: ArrayBuffer | null;
}

/**
 * What comes back: that somebody is there; the beginning; then, for each `pull`, a piece, or `null` at the
 * end.
 */
type Back =
  | { alive: true }
  | { status: number; statusText: string; headers: [string, string][] }
  | { error: string }
  | Uint8Array
  | null;
type Forth = 'pull' | 'cancel';

/** Packs a request. */
export async function pack(request: Request): Promise<Sent> {
  const { method, url, headers } = request;
  return { method, url, headers: [...headers], body: await request.arrayBuffer() };
}

/** Unpacks one. */
export function unpack({ method, url, headers, body }: Sent): Request {
  const hasBody = method !== 'GET' && method !== 'HEAD' && body !== null && body.byteLength > 0;
  return new Request(url, { method, headers, body: hasBody ? body : null });
}

/** Sends a response over a port. */
export async function give(port: MessagePort, response: Promise<Response>): Promise<void> {
  const say = (back: Back) => port.postMessage(back);
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  let isUnwanted = false;
  const fail = (error: unknown) => {
    say({ error: error instanceof Error ? error.message : String(error) });
    port.close();
  };
  port.onmessage = async ({ data }: MessageEvent<Forth>) => {
    if (data === 'cancel') {
      isUnwanted = true;
      port.close();
      reader?.cancel().catch(() => undefined);
      return;
    }
    try {
      const part = await reader?.read();
      say(part?.value ?? null);
      if (part?.value === undefined) port.close();
    } catch (error) {
      fail(error);
    }
  };
  say({ alive: true });
  try {
    const { status, statusText, headers, body } = await response;
    reader = body?.getReader();
    if (isUnwanted) return await reader?.cancel();
    say({ status, statusText, headers: [...headers] });
  } catch (error) {
    fail(error);
  }
}

/** The response that comes over a port; `failure` makes an error of a text. */
export function take(port: MessagePort, failure: (message: string) => Error): Promise<Response> {
  const body = new Pulled((forth: Forth) => {
    port.postMessage(forth);
    if (forth === 'cancel') port.close();
  });
  return new Promise((resolve, reject) => {
    port.onmessage = ({ data }: MessageEvent<Back>) => {
      if (data === null) {
        body.deliver(null);
        port.close();
      } else if (data instanceof Uint8Array) {
        body.deliver(data);
      } else if ('error' in data) {
        const error = failure(data.error);
        reject(error);
        body.fail(error);
        port.close();
      } else if ('status' in data) {
        const isEmpty = WITHOUT_BODY.has(data.status);
        resolve(new Response(isEmpty ? null : body.stream, data));
        if (isEmpty) port.close();
      }
    };
  });
}
