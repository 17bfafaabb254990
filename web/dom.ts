/**
 * Elements of the page in a few words.
 *
 * @module
 */

/** What an element may hold. */
export type Child = Node | string | number | undefined | false | readonly Child[];

/** Attributes by their names; functions listen for the event of that name. */
export type Attributes = Readonly<
  Record<string, string | number | boolean | undefined | ((event: Event) => void)>
>;

/** An element with attributes and children; texts are texts, whatever they hold. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== undefined && value !== false) element.setAttribute(name, String(value));
  }
  append(element, children);
  return element;
}

/** Adds `child` to `parent`; of a list each. */
export function append(parent: Node, child: Child): void {
  if (Array.isArray(child)) { for (const each of child) append(parent, each); }
  else if (child !== undefined && child !== false) {
    parent.appendChild(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** The element of the page that `selector` names. */
export function find<T extends HTMLElement = HTMLElement>(selector: string): T {
  const element = document.querySelector<T>(selector);
  if (element === null) throw new Error(`The page has no ${selector}`);
  return element;
}

/** Puts `children` in place of whatever `parent` holds. */
export function fill(parent: Element, ...children: readonly Child[]): void {
  parent.replaceChildren();
  append(parent, children);
}

/** A figure in a list of them: its name, its value, and what to know about it. */
export function figure(name: string, value: string, note: string): HTMLElement {
  return h(
    "div",
    {},
    h("dt", {}, name),
    h("dd", { class: "value" }, value),
    h("dd", { class: "soft small" }, note),
  );
}
