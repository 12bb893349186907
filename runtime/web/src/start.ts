/**
 * What {@link "index".run} does, with an image that is loaded already, or is being loaded.
 *
 * @module
 */

import { LINK_FD } from './abi.js';
import { container, type Container, type Size } from './container.js';
import { Driver, type Runner } from './drive.js';
import { Directory, preopens, type Mount } from './files.js';
import { GatewayLink, PortError, type Fetch } from './gateway.js';
import { WebSocketLink } from './link.js';
import type { Image, Loaded } from './image.js';
import { Waiter } from './jspi.js';
import { Machine } from './machine.js';
import { Input, Output } from './pipe.js';
import type { Progress } from './fetch.js';

/** What is run. */
export interface RunOptions {
  image: Image;
  /** The image's own arguments: options, then a command in place of the image's own. None by default. */
  args?: readonly string[];
  /** Environment variables of the container's, besides the image's. */
  env?: Readonly<Record<string, string>>;
  /**
   * A terminal for the container, of this size (80 by 24 for `true`). Its output is all on `stdout` then;
   * what Forelift itself has to say comes on `stderr`, as ever.
   */
  tty?: boolean | Size;
  /** Whether there is standard input: without, the command reads its end. There is by default. */
  stdin?: boolean;
  /**
   * The container's network. None by default.
   *
   * `'fetch'`: its connections are requests of HTTP, by TLS or not, which {@link fetch} makes: what pages may
   * fetch, it reaches. It is given a certificate that it has to trust for this, by a directory and by the
   * variables that most programs heed. What else it tries is refused.
   *
   * `ws://HOST:PORT/PATH`: a relay that leads to a network (`forelift net-relay`). Names are asked of
   * 10.0.2.3 there, and of what `--dns` in `args` says.
   */
  net?: string;
  /** Whether {@link Container.fetch} reaches it. It does with `net: 'fetch'`, too; it cannot with a relay. */
  ports?: boolean;
  /** Makes the requests of `net: 'fetch'`: the thread's own by default. */
  fetch?: Fetch;
  /** Directories in memory by their paths in the container, at most 8. None by default. */
  directories?: Readonly<Record<string, Mount>>;
  /**
   * How the machine runs beside everything else of its thread: in steps, which is the default, or by
   * WebAssembly's JavaScript Promise Integration, where there is that ({@link hasJspi}).
   */
  mode?: 'step' | 'jspi';
  /** Ends the container, or its start: {@link "index".run} fails with the signal's reason then. */
  signal?: AbortSignal;
  /** Told how much of a directory's image has come, until it runs. */
  onProgress?: (progress: Progress) => void;
  /**
   * Told when a part of a directory's image that the container reads cannot be fetched, which is tried again
   * and again, or (a `WorkerError`) when a container's worker does not answer; `null`: it has come, it does.
   */
  onTrouble?: (error: Error | null) => void;
}

/** Wakes a machine, once there is one. */
export class Waker {
  runner: Runner | null = null;
  readonly wake = () => this.runner?.wake();
}

/** The resolver of `forelift net-relay`, of the gateway, and of QEMU's user network. */
const RESOLVER = '10.0.2.3';
/** Where the container finds the certificate that it has to trust: `update-ca-certificates` looks there. */
const TRUSTED = '/usr/local/share/ca-certificates/forelift';
const CERTIFICATE = 'page.crt';
/** The variables by which OpenSSL and Go, curl, python's requests and pip, git and Node find it. */
const VARIABLES = [
  'SSL_CERT_FILE',
  'CURL_CA_BUNDLE',
  'REQUESTS_CA_BUNDLE',
  'PIP_CERT',
  'GIT_SSL_CAINFO',
  'NODE_EXTRA_CA_CERTS',
];

/** The link to what the options ask for. */
async function connect({ net, ports, fetch }: RunOptions): Promise<WebSocketLink | GatewayLink | null> {
  if (net === 'fetch') return GatewayLink.open(fetch ?? ((url, init) => globalThis.fetch(url, init)));
  if (net === undefined) return ports === true ? GatewayLink.open(null) : null;
  if (ports === true) throw new RangeError(`ports: a page reaches none by a relay (${net}): leave net out, or 'fetch'`);
  return WebSocketLink.open(net);
}

/** What the container is given so that it trusts the gateway. */
function trust(link: WebSocketLink | GatewayLink | null, { net }: RunOptions): Pick<RunOptions, 'directories' | 'env'> {
  if (!(link instanceof GatewayLink) || net !== 'fetch') return {};
  const directory = new Directory();
  directory.write(CERTIFICATE, new TextEncoder().encode(link.certificate));
  const path = `${TRUSTED}/${CERTIFICATE}`;
  return {
    directories: { [TRUSTED]: { directory, readOnly: true } },
    env: Object.fromEntries(VARIABLES.map((name) => [name, path])),
  };
}

/** Starts a container of an image that `loading` gives, which `waker` wakes. */
export async function start(options: RunOptions, loading: () => Promise<Loaded>, waker: Waker): Promise<Container> {
  // What cannot be mounted is told first.
  preopens(options.directories ?? {});
  const { tty = false } = options;
  const terminal = tty === true ? { rows: 24, cols: 80 } : tty === false ? null : tty;
  const { wake } = waker;
  const { signal } = options;
  signal?.throwIfAborted();
  const image = await loading();
  signal?.throwIfAborted();
  const link = await connect(options);
  if (link !== null) link.wake = wake;
  const given = trust(link, options);
  const input = new Input(wake);
  const [stdout, stderr] = [new Output(wake), new Output(wake)];
  const network = link === null ? [] : ['--net-stream', `fd:${LINK_FD}`, '--dns', RESOLVER];
  const around = {
    // The first is the program's name.
    args: ['image', ...network, ...(options.args ?? [])],
    env: { ...given.env, ...options.env },
    stdin: options.stdin === false ? null : input,
    stdout,
    stderr,
    link,
    terminal,
    directories: preopens({ ...given.directories, ...options.directories }),
  };
  const waiter = options.mode === 'jspi' ? new Waiter(() => machine.buffer) : null;
  let machine: Machine;
  try {
    machine = await Machine.new(image, around, waiter?.imports.bind(waiter));
    signal?.throwIfAborted();
  } catch (error) {
    link?.close();
    image.root?.close();
    throw error;
  }
  waiter?.start(machine.main);
  const running = waiter ?? new Driver(machine);
  waker.runner = running;
  const over = () => {
    input.end();
    stdout.end();
    stderr.end();
    link?.close();
    image.root?.close();
  };
  running.ended.then(over, over);
  signal?.addEventListener('abort', () => running.kill(137), { once: true });
  return container({
    stdin: input.stream,
    stdout: stdout.stream,
    stderr: stderr.stream,
    exited: running.ended,
    tell: (event) => {
      machine.wasi.tell(event);
      wake();
    },
    destroy: () => running.kill(137),
    request: (port, request) => {
      if (link instanceof GatewayLink) return link.request(port, request);
      throw new PortError("no port of the container is reached: run it with ports: true, or with net: 'fetch'");
    },
  });
}
