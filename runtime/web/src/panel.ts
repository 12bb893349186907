/**
 * The page's list of files: those of a directory that the container has mounted, to be downloaded and added
 * to.
 *
 * @module
 */

import type { RemoteDirectory, Entry } from './worker.js';

/** Where the container finds them. */
export const MOUNTED = '/mnt';

/** Says how something went. */
export type Remark = (text: string, isBad?: boolean) => void;

/** The list, and what adds to it. */
export class Panel {
  private directory: RemoteDirectory | null = null;

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
    directory.onchange = () => void this.refresh();
    void this.refresh();
  }

  /** Adds files of the visitor's. */
  private async add(files: File[]): Promise<void> {
    const { directory } = this;
    if (directory === null || files.length === 0) return;
    try {
      for (const file of files) {
        await directory.write(file.name, new Uint8Array(await file.arrayBuffer()));
      }
      this.remark(`${files.map(({ name }) => name).join(', ')}: in ${MOUNTED}`);
    } catch (error) {
      this.remark(error instanceof Error ? error.message : String(error), true);
    }
    await this.refresh();
  }

  private async refresh(): Promise<void> {
    const { directory } = this;
    if (directory === null) return;
    const items: HTMLElement[] = [];
    try {
      for (const [path, entry] of await all(directory)) items.push(this.item(directory, path, entry));
    } catch (error) {
      this.remark(error instanceof Error ? error.message : String(error), true);
    }
    if (directory === this.directory) this.list.replaceChildren(...items);
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

/** All files in a directory with their paths, in order; those below others, too. */
async function all(directory: RemoteDirectory, path = ''): Promise<[string, Entry][]> {
  const found: [string, Entry][] = [];
  const entries = await directory.list(path);
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
