/**
 * Requests and responses between threads, over a `MessagePort` for each: not all browsers can pass on
 * streams.
 *
 * @module
 */

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
  const say = (forth: Forth) => port.postMessage(forth);
  return new Promise((resolve, reject) => {
    let controller: ReadableStreamDefaultController<Uint8Array> | null = null;
    let pulled: () => void = () => undefined;
    const body = new ReadableStream<Uint8Array>(
      {
        start: (given) => {
          controller = given;
        },
        pull: () => {
          say('pull');
          return new Promise<void>((resolve) => (pulled = resolve));
        },
        cancel: () => {
          say('cancel');
          port.close();
        },
      },
      { highWaterMark: 0 },
    );
    port.onmessage = ({ data }: MessageEvent<Back>) => {
      if (data === null) {
        controller?.close();
        port.close();
      } else if (data instanceof Uint8Array) {
        controller?.enqueue(data);
      } else if ('alive' in data) {
        return;
      } else if ('error' in data) {
        const error = failure(data.error);
        reject(error);
        controller?.error(error);
        port.close();
      } else {
        const isEmpty = [204, 205, 304].includes(data.status);
        resolve(new Response(isEmpty ? null : body, data));
        if (isEmpty) port.close();
      }
      pulled();
    };
  });
}
