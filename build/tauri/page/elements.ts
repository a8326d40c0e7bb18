// The elements of index.html, and what is done to any of them.

/** The element of that id. Throws where index.html has none, or one of another kind. */
export function element<T extends HTMLElement = HTMLElement>(id: string, kind?: new () => T): T {
  const found = document.getElementById(id);
  if (!found || (kind && !(found instanceof kind))) {
    throw new Error(`index.html has no ${kind?.name ?? "element"} #${id}`);
  }
  return found as T;
}

/** Sets the text, where it is new: an unchanged text costs no layout and is not read out again. */
export function write(id: string, text: string): void {
  const target = element(id);
  if (target.textContent !== text) target.textContent = text;
}

/** Shows or hides the element. */
export function reveal(id: string, shown: boolean): void {
  element(id).hidden = !shown;
}

/** Calls `listener` for each press of that button, by mouse or keyboard. */
export function onPress(id: string, listener: () => void): void {
  element(id, HTMLButtonElement).addEventListener("click", listener);
}
