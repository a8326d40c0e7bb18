// The auto-tag dialog: starts the sidecar, asks it what there is to do, runs, cancels, undoes.
//
// An example to copy. Everything said to a person comes from the sidecar or from words.ts; every element is
// in index.html; view.ts puts the one into the other.

import { appDataDir, join } from "@tauri-apps/api/path";
import { ErrorCode, type Completion } from "../client/contract";
import { Sidecar, SidecarError } from "../client/sidecar";
import { element, onPress, reveal, write } from "./elements";
import { addFailures, clearFailures } from "./failures";
import * as view from "./view";
import { files, undone } from "./words";

/** The app's library, in its own data folder. */
const LIBRARY = "ligeia.db";

const LOG_LINES_KEPT = 50;

let sidecar: Sidecar | undefined;
let runId: string | undefined;
let canUndo = false;
let log: string[] = [];

/** Starts a sidecar and looks what there is to do. */
async function launch(): Promise<void> {
  view.show("starting");
  log = [];
  runId = undefined;
  let started: Sidecar;
  try {
    started = await Sidecar.spawn({ args: ["--database", await join(await appDataDir(), LIBRARY)] });
  } catch (error) {
    view.showGone(`The sidecar could not be started: ${sentence(error)}`, log);
    return;
  }
  sidecar = started;
  started.onLog((line) => {
    log = [...log, line].slice(-LOG_LINES_KEPT);
  });
  started.onExit((code) => {
    if (sidecar !== started) return; // it was told to stop
    sidecar = undefined;
    const how = code === null ? "it was killed" : `exit code ${code}`;
    view.showGone(`The sidecar has ended (${how}). What is tagged is saved; start it again to go on.`, log);
  });
  started.on("tagging-progress", (progress) => {
    if (progress.run_id === runId) view.showProgress(progress);
  });
  started.on("tagging-batch", (batch) => {
    if (batch.run_id === runId) addFailures(batch.failures);
  });
  started.on("tagging-complete", (completion) => {
    if (completion.run_id === runId) void attempt(() => finish(started, completion));
  });
  await attempt(async () => {
    canUndo = await offers(started, "undo_run");
    await look(started);
  });
}

/** Shows what stands in the way of a run, or what a run would do. */
async function look(from: Sidecar): Promise<void> {
  const status = await from.request("status");
  view.showContext(status);
  const { database } = status;
  if (!database.ok) {
    view.showNoLibrary(database.error ?? "No library was named.", database.path);
  } else if (!status.api_key_present) {
    view.askForKey();
  } else {
    try {
      view.showReady((await from.request("count_untagged_files")).count);
    } catch (error) {
      if (!failedWith(error, ErrorCode.DatabaseUnavailable)) throw error;
      view.showNoLibrary(error.message, database.path);
    }
  }
}

/** Hands the key to the sidecar, and keeps it there if Gemini knows it. */
async function useKey(from: Sidecar): Promise<void> {
  const field = element("key", HTMLInputElement);
  const send = element("key-send", HTMLButtonElement);
  send.disabled = true;
  try {
    await from.request("configure", { api_key: field.value.trim() });
    const accepted = await from.request("check_gemini_api_key", { verify: true });
    if (accepted) {
      field.value = "";
      reveal("key-refused", false);
    } else {
      await from.request("configure", { api_key: "" });
    }
    if (view.shown() !== "no-key") return; // they went back meanwhile
    if (!accepted) {
      view.showProblem("Gemini does not know this key. Check that it is complete.");
      field.select();
    } else if (view.leaveKey() === "run") {
      view.showOutcome("Gemini accepts the new key: tagging can go on.", "good");
    } else {
      await look(from);
    }
  } finally {
    send.disabled = false;
  }
}

async function start(from: Sidecar): Promise<void> {
  const batchSize = element("batch-size", HTMLInputElement);
  const maxParallel = element("max-parallel", HTMLInputElement);
  if (!batchSize.checkValidity() || !maxParallel.checkValidity()) {
    element("options", HTMLDetailsElement).open = true; // a folded field can't say what is wrong with it
    if (batchSize.reportValidity()) maxParallel.reportValidity();
    return;
  }
  const started = await from.request("auto_tag_files", {
    batch_size: batchSize.valueAsNumber,
    max_parallel: maxParallel.valueAsNumber,
    mode: element("mode", HTMLSelectElement).value === "replace" ? "replace" : "merge",
  });
  if (started.run_id === null) {
    view.showReady(0);
    return;
  }
  runId = started.run_id; // set before the run's first notification: the client hands the answer over first
  clearFailures();
  view.showStart(started.total_files, started.total_batches);
}

/** Returns once the run has really stopped; `tagging-complete` has been shown by then. */
async function cancel(from: Sidecar): Promise<void> {
  view.showCancelling();
  await from.request("cancel", { run_id: runId ?? null });
}

async function finish(from: Sidecar, completion: Completion): Promise<void> {
  view.showEnd(completion);
  const whole = from.request("get_run", { run_id: completion.run_id });
  try {
    // What follows appears all at once: no button moves away from under the mouse.
    const [{ failures }, { count }] = await Promise.all([whole, from.request("count_untagged_files")]);
    clearFailures(); // to a slow page the sidecar may leave out batches; `failures` has all of them
    addFailures(failures);
    reveal("undo", canUndo && completion.processed_files > 0);
    offerNext(count, completion.remaining_files > 0);
  } catch (error) {
    offer("Look again", "look");
    throw error;
  }
  // Without a network this takes its time: the buttons above do not wait for it.
  const refused = completion.status === "failed" && (await refusesKey(from));
  if (completion.run_id === runId) reveal("key-refused", refused);
}

/** Whether Gemini refuses the key. Where that can't be told, another key is not known to help. */
async function refusesKey(from: Sidecar): Promise<boolean> {
  try {
    return !(await from.request("check_gemini_api_key", { verify: true }));
  } catch (error) {
    if (failedWith(error, ErrorCode.RequestRefused)) return false;
    throw error;
  }
}

async function undo(from: Sidecar): Promise<void> {
  const answer = await from.request("undo_run", { run_id: runId ?? "" });
  const { count } = await from.request("count_untagged_files");
  view.showOutcome(undone(answer), "good");
  reveal("undo", false);
  offerNext(count, true);
  view.show("run"); // the focus was on the button that has gone
}

/** To tag what was not reached, or to try again what failed. */
function offerNext(count: number, unreached: boolean): void {
  if (count === 0) offer("Done", "look");
  else offer(unreached ? `Tag the remaining ${files(count)}` : `Try ${files(count)} again`, "start");
}

function offer(label: string, next: "look" | "start"): void {
  write("again", label);
  element("again").dataset.next = next;
  reveal("again", true);
}

async function offers(from: Sidecar, method: string): Promise<boolean> {
  try {
    const { methods } = (await from.request("rpc.discover")) as { methods: { name: string }[] };
    return methods.some(({ name }) => name === method);
  } catch (error) {
    if (failedWith(error, ErrorCode.MethodNotFound)) return false;
    throw error;
  }
}

/** Does it, and shows how it failed. */
async function attempt(action: () => Promise<void>): Promise<void> {
  try {
    view.showProblem("");
    await action();
  } catch (error) {
    if (sidecar === undefined) return; // its end is on the screen already
    if (failedWith(error, ErrorCode.NoApiKey)) view.askForKey();
    view.showProblem(sentence(error));
  }
}

/** Does it while there is a sidecar to do it with, one at a time: a second press during the first does nothing. */
function once(action: (from: Sidecar) => Promise<void>): () => void {
  let busy = false;
  return () => {
    const from = sidecar;
    if (!from || busy) return;
    busy = true;
    void attempt(() => action(from)).finally(() => {
      busy = false;
    });
  };
}

function failedWith(error: unknown, code: ErrorCode): error is SidecarError {
  return error instanceof SidecarError && error.code === code;
}

function sentence(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

onPress("start", once(start));
onPress("cancel", once(cancel));
onPress("look-again", once(look));
onPress("library-retry", once(look));
onPress("again", once((from) => (element("again").dataset.next === "start" ? start(from) : look(from))));
onPress("other-key", view.askForKey);
onPress("key-back", view.leaveKey);
onPress("restart", () => void launch());

const askedToUndo = element("undo-dialog", HTMLDialogElement);
const undoOnce = once(undo);
onPress("undo", () => {
  askedToUndo.returnValue = ""; // what Escape leaves
  askedToUndo.showModal();
});
askedToUndo.addEventListener("close", () => {
  if (askedToUndo.returnValue === "undo") undoOnce();
});

const useKeyOnce = once(useKey);
element("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKeyOnce();
});

// A reloaded page, or a closed window of several, leaves its sidecar running otherwise: the shell plugin ends
// it only when the whole app exits.
window.addEventListener("pagehide", () => {
  const from = sidecar;
  sidecar = undefined;
  void from?.stop();
});

void launch();
