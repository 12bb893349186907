/**
 * Splits a line into words as a shell does: by blanks, with quotes and backslashes, and nothing else.
 *
 * @module
 */

/** The words of `line`. A quote that is not closed goes to the end. */
export function words(line: string): string[] {
  const all: string[] = [];
  let word: string | null = null;
  let quote = '';
  for (let at = 0; at < line.length; at++) {
    const c = line.charAt(at);
    const next = line.charAt(at + 1);
    if (quote === '' && /\s/.test(c)) {
      if (word !== null) all.push(word);
      word = null;
    } else if (quote === '' && (c === "'" || c === '"')) {
      quote = c;
      word ??= '';
    } else if (c === quote) {
      quote = '';
    } else if (c === '\\' && quote !== "'" && next !== '' && (quote === '' || '"\\$`'.includes(next))) {
      word = (word ?? '') + next;
      at++;
    } else {
      word = (word ?? '') + c;
    }
  }
  if (word !== null) all.push(word);
  return all;
}
