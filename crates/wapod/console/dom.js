// Makes and updates elements. Whatever came from the worker goes in as text,
// never as markup; there is no way to set markup in this module.

import { shorten } from "./format.js";
import { toast } from "./toast.js";

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.setAttribute("class", value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** An element: `h("button", { type: "button", onclick }, "Stop")`. */
export function h(name, properties = {}, ...children) {
  return fill(document.createElement(name), properties, children);
}

/** The same for SVG. */
export function svg(name, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, name), properties, children);
}

/** The element with an id. One that is missing is a fault of ours. */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`there is no element #${id}`);
  return element;
}

/** Sets a text, and leaves the page alone when nothing has changed: a selection in it stays. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Shows or hides an element. */
export function setShown(element, isShown) {
  element.hidden = !isShown;
}

/**
 * Keeps one child per item, in order. Children stay the same elements as long as
 * their key exists, so that focus and selection survive an update every second.
 */
export function keyed(container, items, keyOf, create, update) {
  const wanted = new Set(items.map((item) => String(keyOf(item))));
  // First, because what is moved loses the focus, and nothing moves when these are gone.
  for (const child of [...container.children]) {
    if (!wanted.has(child.dataset.key)) child.remove();
  }
  const known = new Map(Array.from(container.children, (child) => [child.dataset.key, child]));
  let place = container.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let child = known.get(key);
    if (!child) {
      child = create(item);
      child.dataset.key = key;
    }
    update(child, item);
    if (child === place) place = place.nextElementSibling;
    else container.insertBefore(child, place);
  }
}

/** Copies a text. Pages that are not from loopback or TLS lack the clipboard's own interface. */
export async function copy(text, what) {
  try {
    if (navigator.clipboard) {
      await navigator.clipboard.writeText(text);
    } else {
      const area = h("textarea", { class: "visually-hidden", "aria-hidden": "true" });
      area.value = text;
      document.body.append(area);
      area.select();
      const isCopied = document.execCommand("copy");
      area.remove();
      if (!isCopied) throw new Error("the browser refused");
    }
    toast(`Copied ${what}.`);
  } catch (error) {
    toast(`Could not copy ${what}: ${error.message}. Select it and copy it by hand.`, "error");
  }
}

/** A hash or key, shortened in the middle, with a button that copies all of it. */
export function hash(what, start = 8, end = 6) {
  const code = h("code", { class: "hash" });
  const button = h("button", { type: "button", class: "copy", "aria-label": `Copy ${what}`, title: `Copy ${what}` });
  const element = h("span", { class: "hash-box" }, code, button);
  let whole = "";
  button.addEventListener("click", () => copy(whole, what));
  return {
    element,
    set(text) {
      if (text === whole) return;
      whole = text;
      code.textContent = text === "" ? "–" : shorten(text, start, end);
      code.title = text;
      button.hidden = text === "";
    },
  };
}

/** A link that opens an app in a tab of its own, without telling it where it was opened. */
export function externalLink(url, text) {
  return h("a", { href: url, target: "_blank", rel: "noopener noreferrer", class: "external" }, text);
}
