// What stands in a message's text: links and mentions. Pure: it gives pieces, and the page makes text nodes of them.

/** Links, and names after an `@`. */
const FOUND = /https?:\/\/[^\s<>"\u0000-\u0020]+|@[\p{L}\p{N}\p{M}_.-]+/giu;
const LETTER = /[\p{L}\p{N}]$/u;
const AFTER_LINK = /[.,;:!?'*)\]}»”’]$/;

/** Compares names for lists; made once, since lists are long and sorted often. */
export const compareNames = new Intl.Collator().compare;

/**
 * `[{text}, {text, href}, {text, mention}]`, together the whole text. `mention` is one of `mentions`, the names that the
 * server says are meant; only http and https addresses become links.
 */
export function pieces(text, mentions = []) {
  const parts = [];
  const meant = new Map(mentions.map((name) => [folded(name), name]));
  let end = 0;
  for (const { 0: found, index } of text.matchAll(FOUND)) {
    const part = found[0] === '@' ? mention(text, index, found, meant) : link(found);
    if (!part) continue;
    if (index > end) parts.push({ text: text.slice(end, index) });
    parts.push(part);
    end = index + part.text.length;
  }
  if (end < text.length) parts.push({ text: text.slice(end) });
  return parts;
}

/** The first line of a text, for where there is room for no more. */
export function firstLine(text, max = 140) {
  const line = text.trimStart().split('\n', 1)[0];
  const characters = [...line];
  return characters.length > max ? `${characters.slice(0, max - 1).join('')}…` : line;
}

/** The name that is being typed after an `@` right before `caret`: `{from, name}`, or null. */
export function typedMention(text, caret) {
  const found = /@([\p{L}\p{N}\p{M}_.-]{0,32})$/u.exec(text.slice(0, caret));
  if (!found || LETTER.test(text.slice(0, found.index))) return null;
  return { from: found.index, name: found[1] };
}

/** Those of `names` that go on with `typed`, best first: those that begin with it, then those that have it inside. */
export function matching(names, typed, max) {
  const wanted = folded(typed);
  const rank = (name) => (folded(name).startsWith(wanted) ? 0 : 1);
  return [...names]
    .filter((name) => folded(name).includes(wanted))
    .sort((a, b) => rank(a) - rank(b) || compareNames(a, b))
    .slice(0, max);
}

function mention(text, index, found, meant) {
  if (meant.size === 0 || LETTER.test(text.slice(Math.max(0, index - 2), index))) return null;
  const run = found.slice(1);
  for (const name of [run, run.replace(/[_.-]$/, ''), run.replace(/[_.-]+$/, '')]) {
    const known = meant.get(folded(name));
    if (known !== undefined) return { text: `@${name}`, mention: known };
  }
  return null;
}

// What ends a sentence ends the link too, and so does a bracket that was opened before it.
function link(found) {
  let text = found;
  while (AFTER_LINK.test(text)) {
    if (text.endsWith(')') && count(text, '(') >= count(text, ')')) break;
    text = text.slice(0, -1);
  }
  try {
    const { protocol, host } = new URL(text);
    return ['http:', 'https:'].includes(protocol) && host ? { text, href: text } : null;
  } catch {
    return null;
  }
}

function count(text, character) {
  return text.split(character).length - 1;
}

function folded(name) {
  return name.normalize('NFKC').toLowerCase();
}
