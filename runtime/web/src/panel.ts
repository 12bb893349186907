/**
 * The page's list of files: those of a directory that the container has mounted, to be downloaded and added
 * to.
 *
 * @module
 */

import { text } from './fetch.js';
import type { RemoteDirectory, Entry } from './worker.js';

/** Where the container finds them. */
export const MOUNTED = '/mnt';

/** Files that are listed at most. */
const MOST = 500;
/** Milliseconds between two looks, at least. */
const PAUSE = 300;

/** Says how something went. */
export type Remark = (text: string, isBad?: boolean) => void;

/** The list, and what adds to it. */
export class Panel {
  private directory: RemoteDirectory | null = null;
  private isBusy = false;
  private isStale = false;

  /** `list` is filled, and `input` and what is dropped on `target` is added. */
  constructor(
    private readonly list: HTMLElement,
    input: HTMLInputElement,
    target: HTMLElement,
    private readonly remark: Remark,
  ) {
    input.onchange = () => {
      void this.add([...(input.files ?? [])]);
      input.value = '';
    };
    target.ondragover = (event) => {
      event.preventDefault();
      target.classList.add('over');
    };
    target.ondragleave = () => target.classList.remove('over');
    target.ondrop = (event) => {
      event.preventDefault();
      target.classList.remove('over');
      void this.add([...(event.dataTransfer?.files ?? [])]);
    };
  }

  /** Shows another directory, or none. */
  show(directory: RemoteDirectory | null): void {
    if (this.directory !== null) this.directory.onchange = null;
    this.directory = directory;
    this.list.replaceChildren();
    if (directory === null) return;
    directory.onchange = () => this.refresh();
    this.refresh();
  }

  /** Adds files of the visitor's. */
  private async add(files: File[]): Promise<void> {
    const { directory } = this;
    if (directory === null || files.length === 0) return;
    const added: string[] = [];
    const failed: string[] = [];
    for (const file of files) {
      try {
        await directory.write(file.name, new Uint8Array(await file.arrayBuffer()));
        added.push(file.name);
      } catch (error) {
        failed.push(text(error));
      }
    }
    const done = added.length === 0 ? [] : [`${added.join(', ')}: in ${MOUNTED}`];
    this.remark([...done, ...failed].join('; '), failed.length > 0);
    this.refresh();
  }

  /** Makes the list anew, when the one that is being made is done. */
  refresh(): void {
    this.isStale = true;
    if (this.isBusy || this.list.closest('[hidden]') !== null) return;
    this.isBusy = true;
    void this.fill().finally(() => {
      this.isBusy = false;
      if (this.isStale) this.refresh();
    });
  }

  private async fill(): Promise<void> {
    this.isStale = false;
    const { directory } = this;
    if (directory === null) return;
    const found = await all(directory);
    if (directory !== this.directory) return;
    const items = found.slice(0, MOST).map(([path, entry]) => this.item(directory, path, entry));
    if (found.length > MOST) {
      const line = document.createElement('li');
      line.textContent = `and ${found.length - MOST} more`;
      items.push(line);
    }
    this.list.replaceChildren(...items);
    // A container that writes all the time is not looked at all the time.
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
  }

  /** A line of the list, whose name downloads the file. */
  private item(directory: RemoteDirectory, path: string, { size }: Entry): HTMLElement {
    const line = document.createElement('li');
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = path;
    button.title = `Download ${path}`;
    button.onclick = () => {
      void download(directory, path).catch((error: Error) => this.remark(error.message, true));
    };
    line.append(button, ` ${size.toLocaleString('en')} bytes`);
    return line;
  }
}

/** All files in and below a directory with their paths, in order. What goes meanwhile is not told. */
async function all(directory: RemoteDirectory, path = ''): Promise<[string, Entry][]> {
  const found: [string, Entry][] = [];
  const entries = await directory.list(path).catch((): Entry[] => []);
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const entry of entries) {
    const inner = path === '' ? entry.name : `${path}/${entry.name}`;
    if (entry.kind === 'directory') found.push(...(await all(directory, inner)));
    if (entry.kind === 'file') found.push([inner, entry]);
  }
  return found;
}

async function download(directory: RemoteDirectory, path: string): Promise<void> {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([await directory.read(path)]));
  link.download = path.slice(path.lastIndexOf('/') + 1);
  link.click();
  // The download has the blob by then.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
