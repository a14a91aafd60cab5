// What all forms do alike. A form `x` has `x-error`, and for each field `x-name` and `x-name-error`.

import { byId } from './dom.js';
import { errorText, fieldText } from './texts.js';

export function clearErrors(form) {
  for (const place of document.querySelectorAll(`[id^="${form}-"][id$="-error"]`)) place.hidden = true;
  for (const input of document.querySelectorAll(`[id^="${form}-"][aria-invalid]`)) input.removeAttribute('aria-invalid');
}

/** Shows a SalonError where it belongs: at the fields it names, else above the form. */
export function showError(form, error) {
  let first = null;
  for (const [field, why] of Object.entries(error.errors ?? {})) {
    const input = byId(`${form}-${field}`);
    const place = byId(`${form}-${field}-error`);
    if (!input || !place) continue;
    place.textContent = error.own ? why : fieldText(field, why);
    place.hidden = false;
    input.setAttribute('aria-invalid', 'true');
    first ??= input;
  }
  if (!first) {
    byId(`${form}-error`).textContent = errorText(error);
    byId(`${form}-error`).hidden = false;
  }
  (first ?? ['name', 'password', 'username', 'reason'].map((field) => byId(`${form}-${field}`)).find(Boolean))?.focus();
}

/** Runs what a button asked for, once: while it runs the button is off. */
export async function whileBusy(button, run) {
  if (button.disabled) return;
  button.disabled = true;
  try {
    await run();
  } finally {
    button.disabled = false;
  }
}
