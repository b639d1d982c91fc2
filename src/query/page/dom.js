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

// Only rows that differ are put in anew.
export function fill(body, rows) {
  rows.forEach((made, n) => {
    const old = body.children[n];
    if (!old) body.append(made);
    else if (!old.isEqualNode(made)) old.replaceWith(made);
  });
  while (body.children.length > rows.length) body.lastElementChild.remove();
}

export function option(value, text = value) {
  const made = node("option", "", text);
  made.value = value;
  return made;
}
