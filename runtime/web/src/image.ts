/**
 * Images: a module of `forelift convert`, or a directory of `forelift convert --web`, whose parts are fetched
 * beside each other.
 *
 * @module
 */

import { Fetcher, fetchFile, replaced, tell, text, type Progress } from './fetch.js';
import { Root, type Manifest as RootManifest } from './root.js';

/**
 * Where an image is: the address of a module or of a directory's `image.json`, what a fetch of a module gave,
 * its bytes, or the compiled module.
 */
export type Image = string | URL | Response | Promise<Response> | BufferSource | WebAssembly.Module;

/** Why something is no image. */
export class ImageError extends Error {
  override name = 'ImageError';
}

/** What a page shows and runs, as the options `--web-...` have said. */
export interface Page {
  title: string;
  args: string[];
  net: string | null;
  ports: number[];
  fixed: boolean;
}

/** A compressed file of runs of pages: their first number, how many they are, their contents. */
interface Piece {
  file: string;
  size: number;
}

/** `image.json`, as `packer/src/web/manifest.rs` writes it. */
interface Manifest {
  format: number;
  forelift: string;
  data: string;
  code: Piece;
  memory: Piece[];
  root: RootManifest & { first: Piece[] };
  page: Page;
  files: string[];
}

/** The version of the format that is read. */
const FORMAT = 1;
/** Bytes of a page of memory, and of a block of the root file system. */
const PAGE = 4096;
/** Bytes of a piece at most, uncompressed: twice `PIECE` of `packer/src/web/pieces.rs`. */
const MOST = 8 << 20;
/** A module that says nothing of itself. */
const ABSENT = new TextEncoder().encode('{}');

/** An image that is ready to be instantiated. */
export interface Loaded {
  module: WebAssembly.Module;
  /** What the instance's memory holds besides what the module puts there. */
  fill(memory: WebAssembly.Memory): void;
  /** The root file system, where the module has none. */
  root: Root | null;
}

/** Who is told of what happens meanwhile. */
export interface Listeners {
  onProgress?: ((progress: Progress) => void) | undefined;
  onTrouble?: ((error: Error | null) => void) | undefined;
}

/** An address, which may be relative to the page's. */
export function absolute(address: string | URL): URL {
  try {
    return new URL(address, globalThis.location?.href);
  } catch {
    throw new ImageError(`${address}: there is no page that this is relative to: give the whole address, or bytes`);
  }
}

/** The least module that there is. */
const LEAST = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);

/** Whether modules can be run here, which a page's server can forbid; an error that says why not. */
async function check(): Promise<void> {
  try {
    await WebAssembly.instantiate(LEAST);
  } catch (error) {
    const why = "a Content-Security-Policy has to have 'wasm-unsafe-eval' in its script-src";
    throw new ImageError(`WebAssembly cannot be run here: ${why} (${text(error)})`);
  }
}

/** Reads a directory's `image.json`. */
export async function manifest(address: string | URL): Promise<Manifest> {
  const url = absolute(address);
  const fetcher = new Fetcher(url, await Fetcher.cache());
  const json = new TextDecoder().decode(await fetcher.plain(url.href));
  let found: Partial<Manifest> | null;
  try {
    found = JSON.parse(json) as Partial<Manifest> | null;
  } catch {
    throw damaged(url);
  }
  if (found === null || found.format !== FORMAT) {
    const by = found?.forelift === undefined ? 'nothing that is known' : `forelift ${found.forelift}`;
    throw new ImageError(`${url}: it was made by ${by}, which this page does not read: convert the image again`);
  }
  const { code, memory, root, page, files } = found;
  const isWhole =
    typeof code?.file === 'string' &&
    [memory, files, root?.chunks, root?.first, page?.args, page?.ports].every((each) => Array.isArray(each));
  if (!isWhole) throw damaged(url);
  return found as Manifest;
}

function damaged(url: URL): ImageError {
  return new ImageError(`${url}: it is damaged or was cut off: write the directory again, and copy all of it`);
}

/** Compiles a module, or fetches all that is needed at first of a directory. */
export async function load(image: Image, listeners: Listeners, wake: () => void): Promise<Loaded> {
  await check();
  if (typeof image !== 'string' && !(image instanceof URL)) {
    return { module: await compile(image), fill: () => undefined, root: null };
  }
  const url = absolute(image);
  if (url.pathname.endsWith('.json')) return loadDirectory(url, listeners, wake);
  const response = fetchFile(url.href);
  return { module: await compile(response), fill: () => undefined, root: null };
}

async function loadDirectory(url: URL, listeners: Listeners, wake: () => void): Promise<Loaded> {
  const found = await manifest(url);
  const { code, memory, root } = found;
  const fetcher = new Fetcher(url, await Fetcher.cache());
  // What is not removed now is the next time.
  fetcher.clean(found.files).catch(() => undefined);
  const data = [...memory, ...root.first];
  const total = data.reduce((sum, { size }) => sum + size, code.size);
  let loaded = 0;
  const advance = (bytes: number) => {
    loaded += bytes;
    tell(listeners.onProgress, { loaded, total });
  };
  advance(0);
  const compiling = fetcher.code(code.file, compileResponse).then((module) => {
    advance(code.size);
    return module;
  });
  const pieces = data.map(({ file }) => fetcher.unzipped(file, MOST, advance));
  const [module, ...bytes] = await Promise.all([compiling, ...pieces]);
  const [section] = WebAssembly.Module.customSections(module, 'forelift');
  const { data: digest } = JSON.parse(new TextDecoder().decode(section ?? ABSENT)) as { data?: string };
  if (digest !== found.data) {
    throw new ImageError(`${url}: the code is of another version than the data: copy all of the directory again`);
  }
  const here = new Map<number, Uint8Array>();
  for (const piece of bytes.slice(memory.length)) {
    for (const { page, contents } of runs(piece, url)) {
      for (let at = 0; at < contents.length; at += PAGE) {
        here.set(page + at / PAGE, contents.subarray(at, at + PAGE));
      }
    }
  }
  return {
    module,
    fill: ({ buffer }) => {
      const all = new Uint8Array(buffer);
      for (const piece of bytes.slice(0, memory.length)) {
        for (const { page, contents } of runs(piece, url)) {
          if (page * PAGE + contents.length > all.length) throw damaged(url);
          all.set(contents, page * PAGE);
        }
      }
      // Guest RAM is there twice until this is over.
      bytes.length = 0;
    },
    root: new Root(root, here, fetcher, { wake, trouble: (error) => tell(listeners.onTrouble, error) }),
  };
}

/** The runs of pages in a piece. */
function* runs(piece: Uint8Array, url: URL): Generator<{ page: number; contents: Uint8Array }> {
  const words = new DataView(piece.buffer, piece.byteOffset, piece.length);
  for (let at = 0; at < piece.length; ) {
    if (at + 8 > piece.length) throw damaged(url);
    const page = words.getUint32(at, true);
    const size = words.getUint32(at + 4, true) * PAGE;
    at += 8;
    if (at + size > piece.length) throw damaged(url);
    yield { page, contents: piece.subarray(at, at + size) };
    at += size;
  }
}

async function compile(image: Exclude<Image, string | URL>): Promise<WebAssembly.Module> {
  if (image instanceof WebAssembly.Module) return image;
  const isHere = image instanceof ArrayBuffer || ArrayBuffer.isView(image);
  const response = isHere ? null : await answer(image as Response | Promise<Response>);
  try {
    return await (response === null ? WebAssembly.compile(image as BufferSource) : compileResponse(response));
  } catch (error) {
    if (!(error instanceof WebAssembly.CompileError)) throw error;
    if (response !== null && type(response) === 'text/html') throw replaced(response.url);
    throw new ImageError(`this is no image: ${error.message}`);
  }
}

/** What a page's own fetch gave. */
export async function answer(image: Response | Promise<Response>): Promise<Response> {
  const response = await image;
  if (!response.ok) throw new ImageError(`${response.url}: ${response.status} ${response.statusText}`);
  return response;
}

/** What a server says that an answer is. */
function type(response: Response): string | undefined {
  return response.headers.get('content-type')?.split(';')[0]?.trim();
}

/** Compiles what a server gave. */
export async function compileResponse(response: Response): Promise<WebAssembly.Module> {
  // Streaming wants the right type, which many a plain server does not know.
  if (type(response) === 'application/wasm') return WebAssembly.compileStreaming(response);
  return WebAssembly.compile(await response.arrayBuffer());
}
