// The page's first program, which waits for nothing. The container's worker begins to load the image, which
// takes longer than the page's own programs; and a program that does not come says so itself.

globalThis.foreliftWorker = new Worker(new URL('worker_main.js', document.currentScript.src), { type: 'module' });
// One that cannot be loaded is of no use: the page says why of its own.
foreliftWorker.onerror = () => (globalThis.foreliftWorker = undefined);
foreliftWorker.postMessage({ kind: 'load', image: new URL('image.json', document.baseURI).href });

addEventListener(
  'error',
  ({ target }) => {
    if (!(target instanceof HTMLScriptElement)) return;
    const how =
      location.protocol === 'file:'
        ? 'it has to come from a web server: python3 -m http.server -d DIRECTORY'
        : 'copy all of the directory to the server, and reload the page';
    document.body.dataset.state = 'failed';
    document.getElementById('message').textContent = `The programs of this page cannot be loaded: ${how}`;
  },
  true,
);
