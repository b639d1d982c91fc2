// A shop of one page, as many are made: paths change, nothing is loaded. What it says to streamgauge is in three places:
// the tag in index.html, `data-streamgauge` on its buttons, and calls for searches and purchases.

// The tracker comes when it comes; until then, calls wait in a queue.
window.streamgauge =
  window.streamgauge ||
  function () {
    (window.streamgauge.q = window.streamgauge.q || []).push(arguments);
  };

// Names and paths are those of the synthetic visitors: the counts add up.
const PRODUCTS = [
  ["Shoes", 89], ["Jacket", 149], ["Lamp", 59], ["Rain coat", 119], ["Desk", 329], ["Headphones", 199],
  ["Backpack", 79], ["Coffee", 14], ["Tent", 259], ["Bicycle", 899], ["Gloves", 29], ["Kettle", 49],
].map(([name, price], at) => ({ name, price, path: `/products/item-${String(at + 1).padStart(4, "0")}`, hue: at * 30 + 190 }));
const ACTIONS = [["image", "Look closer"], ["size-guide", "Size guide"], ["reviews", "Reviews"], ["wishlist", "Wish list"], ["share", "Share"]];
const TEXTS = {
  "/help": ["Help", "Nothing here can be bought, so nothing can go wrong."],
  "/about": ["About", "Twelve things, one page, and a tracker of less than 2 kB that sets no cookie."],
  "/checkout": ["Thank you", "That was all. Your cart is empty again."],
};
const REMEMBERED = 6;

/** The products that were added, until they are bought. */
let cart = [];

const find = (selector) => document.querySelector(selector);

/** An element with these properties and children. */
function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function button(target, text, isMain) {
  const made = element("button", { type: "button", className: isMain ? "main" : "" }, text);
  made.dataset.streamgauge = "click";
  made.dataset.streamgaugeTarget = target;
  return made;
}

function picture({ name, hue }) {
  const made = element("div", { className: "picture", ariaHidden: "true" }, name[0]);
  made.style.setProperty("--hue", hue);
  return made;
}

function card(product) {
  return element("a", { className: "card", href: product.path }, picture(product), element("h3", {}, product.name),
    element("p", { className: "price" }, `${product.price} €`));
}

function grid(title, products) {
  const none = products.length ? "" : element("p", { className: "note" }, "Nothing of that kind.");
  return [element("h1", {}, title), none, element("div", { className: "grid" }, ...products.map(card))];
}

function productPage(product) {
  const actions = ACTIONS.map(([target, text]) => button(target, text));
  const text = element("div", { className: "text" }, element("h1", {}, product.name),
    element("p", { className: "price" }, `${product.price} €`),
    element("p", {}, "The best of its kind, as far as made-up things go."),
    button("add-to-cart", "Add to cart", true), element("div", { className: "actions" }, ...actions));
  return [element("div", { className: "product" }, picture(product), text)];
}

function content({ pathname, searchParams }) {
  const product = PRODUCTS.find(({ path }) => path === pathname);
  if (product) return productPage(product);
  if (pathname === "/sale") return grid("Sale", PRODUCTS.filter((_, at) => at % 3 === 0));
  if (pathname === "/search") {
    const query = searchParams.get("query") ?? "";
    return grid(`Search: ${query}`, matching(query));
  }
  if (pathname === "/cart") {
    const out = cart.length ? element("a", { className: "main", href: "/checkout" }, `Buy for ${sum()} €`) : "";
    return [element("h1", {}, "Cart"), element("p", {}, cart.map(({ name }) => name).join(", ") || "It is empty."), out];
  }
  const text = TEXTS[pathname];
  return text ? [element("h1", {}, text[0]), element("p", {}, text[1])] : grid("Everything", PRODUCTS);
}

function matching(query) {
  return PRODUCTS.filter(({ name }) => name.toLowerCase().includes(query.toLowerCase()));
}

function sum() {
  return cart.reduce((all, { price }) => all + price, 0);
}

function show() {
  note("page_view", location.pathname);
  if (location.pathname === "/checkout" && cart.length) {
    window.streamgauge("purchase", { amount: sum(), path: "/checkout" });
    note("purchase", `${sum()} €`);
    cart = [];
  }
  find("#count").textContent = cart.length;
  find("#main").replaceChildren(...content(new URL(location.href)));
}

function go(address) {
  history.pushState(null, "", address);
  show();
  scrollTo(0, 0);
  find("#main").focus({ preventScroll: true });
}

/** Shows what the tracker has just been told. */
function note(type, what) {
  if (navigator.globalPrivacyControl) return;
  find("#sent").prepend(element("li", {}, element("b", {}, type), ` ${what}`));
  [...find("#sent").children].slice(REMEMBERED).forEach((old) => old.remove());
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href]");
  const target = event.target.closest("[data-streamgauge]")?.dataset.streamgaugeTarget;
  if (target) note("click", target);
  if (target === "add-to-cart") {
    cart.push(PRODUCTS.find(({ path }) => path === location.pathname));
    find("#count").textContent = cart.length;
  }
  if (link && link.origin === location.origin && event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey) {
    event.preventDefault();
    go(link.href);
  }
});
find("#search").addEventListener("submit", (event) => {
  event.preventDefault();
  const query = new FormData(event.target).get("query").trim().toLowerCase();
  if (!query) return;
  window.streamgauge("search", { query, results: matching(query).length, path: "/search" });
  note("search", query);
  go(`/search?query=${encodeURIComponent(query)}`);
});
addEventListener("popstate", show);
find("#private").hidden = !navigator.globalPrivacyControl;
show();
