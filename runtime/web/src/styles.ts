/**
 * Styles of xterm without inline ones, which a Content-Security-Policy may forbid: xterm makes `style`
 * elements and sets `style` attributes. The same rules as adopted style sheets, and the same declarations by
 * way of the object model, no policy forbids.
 *
 * @module
 */

const create = document.createElement.bind(document) as Document['createElement'];

/** In place of a `style` element: what becomes its text is the text of a sheet, as long as it is there. */
function stand(): HTMLElement {
  const element = create('template');
  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  Object.defineProperty(element, 'textContent', { set: (rules: string) => sheet.replaceSync(rules) });
  element.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((other) => other !== sheet);
    Element.prototype.remove.call(element);
  };
  return element;
}

document.createElement = (name: string, options?: ElementCreationOptions) =>
  name === 'style' ? stand() : create(name, options);

HTMLSpanElement.prototype.setAttribute = function (name, value) {
  if (name === 'style') this.style.cssText = value;
  else Element.prototype.setAttribute.call(this, name, value);
};
