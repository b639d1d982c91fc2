// Building blocks of the page. All text goes in as text, never as markup.

export const $ = (id) => document.getElementById(id);

export function node(name, className = "", ...content) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...content);
  return made;
}

export const cell = (text, className = "") => node("td", className, text);
export const row = (...cells) => node("tr", "", ...cells);

// Writes only what differs, so that a selection and a screen reader's place survive an update.
export function say(id, text) {
  const place = $(id);
  if (place.textContent !== text) place.textContent = text;
}

// Rows are made anew only when something in them differs.
export function fill(body, rows) {
  const same = rows.length === body.children.length && rows.every((r, n) => r.isEqualNode(body.children[n]));
  if (!same) body.replaceChildren(...rows);
}

export function option(value, text = value) {
  const made = node("option", "", text);
  made.value = value;
  return made;
}
