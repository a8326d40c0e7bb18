// The files that were not tagged, grouped by reason. Groups that a person has opened stay open.

import type { FileFailure, Reason } from "../client/contract";
import { element, reveal } from "./elements";
import { fileName, number, reason } from "./words";

/** A list of ten thousand names helps nobody and slows the page. */
const SHOWN_PER_REASON = 100;

interface Group {
  readonly count: HTMLElement;
  readonly list: HTMLElement;
  readonly more: HTMLElement;
  files: number;
  message: string;
}

const groups = new Map<Reason, Group>();

/** Shows none, for a new run. */
export function clearFailures(): void {
  groups.clear();
  element("failure-groups").replaceChildren();
  reveal("failures", false);
}

/** Shows these besides those shown before. */
export function addFailures(failures: readonly FileFailure[]): void {
  for (const failure of failures) add(failure);
  if (failures.length) reveal("failures", true);
}

function add({ reason: why, file_path: path, message }: FileFailure): void {
  const group = groups.get(why) ?? makeGroup(why);
  group.files += 1;
  group.count.textContent = number(group.files);
  if (group.files > SHOWN_PER_REASON) {
    group.more.textContent = `and ${number(group.files - SHOWN_PER_REASON)} more`;
    return;
  }
  // Most files of a group fail with the same sentence: it is said once for all that follow.
  if (message !== group.message) group.list.append(make("li", make("small", message)));
  group.message = message;
  const item = make("li", fileName(path));
  item.title = path;
  group.list.append(item);
}

function makeGroup(why: Reason): Group {
  const group = { count: make("span"), list: make("ul"), more: make("p"), files: 0, message: "" };
  group.count.className = "count";
  group.more.className = "quiet";
  group.list.setAttribute("role", "list"); // WebKit takes the role away where there are no bullets
  group.list.setAttribute("aria-label", reason(why));
  group.list.tabIndex = 0; // a long list scrolls, by the keyboard too
  const details = make("details", make("summary", reason(why), " ", group.count), group.list, group.more);
  details.dataset.reason = why;
  element("failure-groups").append(details);
  groups.set(why, group);
  return group;
}

function make(tag: string, ...children: (Node | string)[]): HTMLElement {
  const made = document.createElement(tag);
  made.append(...children);
  return made;
}
