// What is on the screen: takes what the sidecar says and puts it into the elements of index.html.

import type { Completion, Progress, Status } from "../client/contract";
import { element, reveal, write } from "./elements";
import { clock, ended, estimate, fileName, files, number, percent, tokens } from "./words";

/** The parts of index.html, by their `data-part`. */
export type Screen = "starting" | "no-key" | "no-library" | "ready" | "nothing" | "run" | "gone";

/** What both kinds of news about a run tell. */
type Counters = Omit<Completion, "success" | "status" | "message">;

/** A screen reader is told of progress this often at most: it would talk without a pause otherwise. */
const ANNOUNCE_EVERY_MILLISECONDS = 15_000;

const COUNTDOWN_STEP_MILLISECONDS = 200;

/** What Back leads to from the key's form; nothing where there was nothing to come from. */
let behindKey: Screen | undefined;

let announcedAt = 0;
let waitingUntil = 0;
let countdown: ReturnType<typeof setInterval> | undefined;

/** Shows one screen. The focus goes to its first field or its heading, where the focused element has gone. */
export function show(screen: Screen): void {
  if (element("app").dataset.screen !== screen) showProblem("");
  element("app").dataset.screen = screen;
  const focused = document.activeElement;
  if (focused instanceof HTMLElement && focused !== document.body && focused.offsetParent !== null) return;
  const first = screen === "no-key" ? "#key" : `[data-part="${screen}"] h2`;
  document.querySelector<HTMLElement>(first)?.focus();
}

/** What is on the screen. */
export function shown(): Screen {
  return element("app").dataset.screen as Screen;
}

/** Asks for a key. Back leads to the run or the start that it was asked for from, which stay as they are. */
export function askForKey(): void {
  const from = shown();
  if (from !== "no-key") behindKey = from === "run" || from === "ready" ? from : undefined;
  reveal("key-behind", behindKey !== undefined);
  show("no-key");
}

/** Goes back from the key's form. Returns where to; nothing where there is nothing to go back to. */
export function leaveKey(): Screen | undefined {
  if (behindKey) show(behindKey);
  return behindKey;
}

/** A sentence above the screen, read out at once; an empty one takes it away. */
export function showProblem(sentence: string): void {
  write("problem", sentence);
  reveal("problem", sentence !== "");
}

/** Which library and model this is about. */
export function showContext({ database, model }: Status): void {
  const parts = [database.path === null ? "No library" : fileName(database.path), model];
  write("context", parts.join(" · "));
}

/** There is nothing to work on. */
export function showNoLibrary(why: string, path: string | null): void {
  write("library-problem", why);
  write("library-path", path ?? "");
  show("no-library");
}

/** So many files wait for a run. */
export function showReady(count: number): void {
  write("ready-title", count === 1 ? "1 file waits for tags" : `${files(count)} wait for tags`);
  show(count ? "ready" : "nothing");
}

/** A run begins: empty bar, Cancel. */
export function showStart(total_files: number, total_batches: number): void {
  write("run-title", "Tagging…");
  write("time-name", "Time left");
  for (const id of ["rate", "time", "tokens"]) write(id, "–");
  for (const id of ["outcome", "undo", "again", "key-refused"]) reveal(id, false);
  stopWaiting();
  showCounters({ total_files, total_batches, processed_files: 0, failed_files: 0, skipped_files: 0, current_batch: 0 });
  write("remaining", number(total_files));
  element("cancel", HTMLButtonElement).disabled = false;
  reveal("cancel", true);
  element("app").dataset.phase = "running";
  show("run");
  announce(`Tagging ${files(total_files)} has started.`);
}

/** News of a run under way. */
export function showProgress(progress: Progress): void {
  showCounters(progress);
  write("remaining", number(progress.remaining_files));
  write("tokens", tokens(progress.usage));
  write("rate", number(Math.round(progress.files_per_minute)));
  write("time", estimate(progress.eta_seconds));
  if (progress.waiting_seconds > 0) showWaiting(progress.status, progress.waiting_seconds);
  else stopWaiting();
  if (performance.now() - announcedAt > ANNOUNCE_EVERY_MILLISECONDS) {
    announce(`${number(progress.processed_files)} of ${files(progress.total_files)} tagged.`);
  }
}

/** From the press of Cancel to the sidecar's word that the run has ended. */
export function showCancelling(): void {
  write("run-title", "Cancelling…");
  element("cancel", HTMLButtonElement).disabled = true;
  stopWaiting();
  showOutcome("The open requests are dropped; what is being saved is finished.", "fair");
  element("app").dataset.phase = "cancelling";
}

/** The end of a run, with the sidecar's own sentence. */
export function showEnd(completion: Completion): void {
  stopWaiting();
  showCounters(completion);
  write("remaining", number(completion.remaining_files));
  write("tokens", tokens(completion.usage));
  write("time-name", "Time taken");
  write("time", clock(completion.elapsed_seconds));
  write("run-title", ended(completion.status));
  const flawless = completion.success && completion.failed_files === 0;
  showOutcome(completion.message, flawless ? "good" : completion.status === "failed" ? "bad" : "fair");
  reveal("cancel", false);
  element("app").dataset.phase = "ended";
  show("run");
}

/** The sentence in which something ended. */
export function showOutcome(sentence: string, kind: "good" | "fair" | "bad"): void {
  element("outcome").className = `notice ${kind}`;
  write("outcome", sentence);
  reveal("outcome", true);
  announce(sentence);
}

/** The sidecar is gone without having been asked to go. */
export function showGone(why: string, log: readonly string[]): void {
  stopWaiting();
  write("gone-text", why);
  write("gone-log", log.join("\n"));
  reveal("gone-details", log.length > 0);
  show("gone");
  announce(why);
}

function showCounters(counters: Omit<Counters, "run_id" | "remaining_files" | "elapsed_seconds" | "usage">): void {
  const { total_files: total, processed_files: tagged, failed_files: failed, skipped_files: skipped } = counters;
  write("tagged", number(tagged));
  write("failed", number(failed));
  write("skipped", number(skipped));
  write("batches", `${number(counters.current_batch)} of ${number(counters.total_batches)}`);
  write("bar-text", `${number(tagged)} of ${files(total)} tagged`);
  write("bar-percent", percent(tagged, total));
  const bar = element("bar");
  bar.setAttribute("aria-valuemax", String(total));
  bar.setAttribute("aria-valuenow", String(tagged));
  bar.setAttribute("aria-valuetext", `${number(tagged)} of ${files(total)} tagged, ${number(failed)} failed`);
  for (const [id, part] of [["bar-tagged", tagged], ["bar-failed", failed], ["bar-skipped", skipped]] as const) {
    element(id).style.width = `${total ? (part / total) * 100 : 0}%`;
  }
}

function showWaiting(sentence: string, seconds: number): void {
  write("waiting-text", sentence);
  waitingUntil = performance.now() + seconds * 1000;
  if (countdown === undefined) {
    announce(sentence);
    countdown = setInterval(tick, COUNTDOWN_STEP_MILLISECONDS);
  }
  reveal("waiting", true);
  tick();
}

function tick(): void {
  const left = Math.ceil((waitingUntil - performance.now()) / 1000);
  if (left > 0) write("waiting-left", clock(left));
  else stopWaiting();
}

function stopWaiting(): void {
  clearInterval(countdown);
  countdown = undefined;
  reveal("waiting", false);
}

function announce(sentence: string): void {
  announcedAt = performance.now();
  write("announcement", sentence);
}
