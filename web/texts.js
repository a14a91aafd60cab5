// Every text a person reads, by its name. A language is one more file `texts-xx.js`; only the one in use is loaded.

/** Languages by their codes, in their own words. */
export const LANGUAGES = { en: 'English', fr: 'Français', ru: 'Русский' };

const KEPT_AS = 'salon.language';
const added = {};
let code = kept() ?? (globalThis.navigator?.languages ?? []).map((tag) => tag.split('-')[0]).find((tag) => tag in LANGUAGES) ?? 'en';
let { texts } = await import(`./texts-${code}.js`);
let plurals = new Intl.PluralRules(code);
let numbers = new Intl.NumberFormat(code);

/** The code of the language in use. */
export function language() {
  return code;
}

/** Changes the language for good in this browser; the page hears `salon-language` and draws itself anew. */
export async function setLanguage(wanted) {
  ({ texts } = await import(`./texts-${wanted}.js`));
  code = wanted;
  plurals = new Intl.PluralRules(code);
  numbers = new Intl.NumberFormat(code);
  try {
    localStorage.setItem(KEPT_AS, wanted);
  } catch {
    // A browser that keeps nothing forgets this with the page.
  }
  globalThis.dispatchEvent(new Event('salon-language'));
}

/** Further texts, `{en: {…}, fr: {…}, ru: {…}}`. */
export function addTexts(more) {
  for (const [tag, of] of Object.entries(more)) added[tag] = { ...added[tag], ...of };
}

/**
 * A text by its name (`state.online`), filled in: `{name}` is a value, and a text in several forms (`one`, `other`…)
 * goes by the value `count`. A name without a text stands for itself, so that it is seen.
 */
export function t(name, values = {}) {
  const path = name.split('.');
  let text = find(texts, path) ?? find(added[code], path);
  if (text?.other) text = text[plurals.select(values.count)] ?? text.other;
  if (typeof text !== 'string') return name;
  return text.replace(/\{(\w+)\}/g, (whole, key) => (key in values ? shown(values[key]) : whole));
}

/** The sentence for an error: our own where there is one for its code, else the server's. */
export function errorText(error) {
  const own = t(`error.${error.code}`);
  const ours = own !== `error.${error.code}`;
  // These say more in the server's words, which are English: which name is taken, what is too long.
  const theirs = code === 'en' && ['conflict', 'invalid', 'forbidden', 'too_large'].includes(error.code) && error.message;
  return theirs || (ours ? own : error.message);
}

/** What is wrong with a field of a form: the server's words in English, else the field's rule. */
export function fieldText(field, why) {
  const rule = find(texts, ['field', field]);
  return rule ?? why.charAt(0).toUpperCase() + why.slice(1);
}

function find(all, path) {
  return path.reduce((inside, part) => (inside && Object.hasOwn(inside, part) ? inside[part] : undefined), all);
}

function shown(value) {
  return typeof value === 'number' ? numbers.format(value) : String(value);
}

function kept() {
  try {
    const tag = localStorage.getItem(KEPT_AS);
    return tag in LANGUAGES ? tag : null;
  } catch {
    return null;
  }
}
