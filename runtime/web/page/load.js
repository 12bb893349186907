// A program of the page that does not come says so itself.

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
