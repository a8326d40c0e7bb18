// sidecar.ts as a page uses it: the real plugin's JavaScript, a real sidecar process, Gemini's stand-in.

import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test, type TestContext } from "node:test";
import { Command } from "@tauri-apps/plugin-shell";

import { ErrorCode } from "../client/contract.js";
import { Sidecar, SidecarError, type SpawnOptions } from "../client/sidecar.js";
import { install, requireEnv, type Cut, type Setup, type Shell } from "./shell.js";

const COMMAND: string[] = JSON.parse(requireEnv("LIGEIA_COMMAND"));
const ENVIRONMENT: Record<string, string> = JSON.parse(requireEnv("LIGEIA_ENVIRONMENT"));
const LIBRARY = requireEnv("LIGEIA_LIBRARY");
const SLOW = { GOOGLE_GEMINI_BASE_URL: requireEnv("LIGEIA_SLOW_GEMINI") };
const FILES = 60;

const folder = mkdtempSync(join(tmpdir(), "ligeia-client-"));
after(() => rmSync(folder, { recursive: true }));

/** The end of a script that answers one call and ends with its input. */
const ANSWER = `process.stdin.on("data", () => console.log('{"jsonrpc": "2.0", "id": 1, "result": {"count": 7}}'))`;

/** A script that neither answers nor ends. */
const STUBBORN = "process.stdin.resume(); setInterval(() => {}, 1000)";

let libraries = 0;

/** A copy of the library for one test. */
function library(): string {
  const path = join(folder, `library-${++libraries}.db`);
  copyFileSync(LIBRARY, path);
  return path;
}

interface World {
  sidecar: Sidecar;
  shell: Shell;
}

/** A sidecar on a library of its own; whatever happens, its process is gone after the test. */
async function launch(context: TestContext, setup: Partial<Setup> = {}, env = {}): Promise<World> {
  return begin(
    context,
    { command: COMMAND, env: ENVIRONMENT, ...setup },
    { args: ["--database", library()], env },
  );
}

/** A program of a few lines in the sidecar's place, for what a healthy sidecar does not do. */
async function launchScript(context: TestContext, script: string, setup: Partial<Setup> = {}): Promise<World> {
  const command = Command.create("script", []);
  return begin(context, { command: [process.execPath, "-e", script], env: ENVIRONMENT, ...setup }, { command });
}

async function begin(context: TestContext, setup: Setup, options: SpawnOptions): Promise<World> {
  const shell = install(setup);
  context.after(() => shell.children.forEach((child) => child.kill("SIGKILL")));
  return { sidecar: await Sidecar.spawn(options), shell };
}

function ended(sidecar: Sidecar): Promise<number | null> {
  return new Promise((resolve) => sidecar.onExit(resolve));
}

/** The error that a call is rejected with. */
async function rejection(call: Promise<unknown>): Promise<SidecarError> {
  const error = await call.then(
    () => assert.fail("the call was answered"),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof SidecarError, String(error));
  return error;
}

test("status is answered by a sidecar that the capability file lets through", async (context) => {
  const { sidecar, shell } = await launch(context);
  const status = await sidecar.request("status");
  assert.equal(status.name, "ligeia-sidecar");
  assert.equal(status.protocol_version, 1);
  assert.deepEqual([status.database.ok, status.database.error], [true, null]);
  assert.equal(status.api_key_present, true);
  assert.equal(shell.children.length, 1);
  await sidecar.stop();
});

test("what the capability file does not allow is refused with the shell's words", async () => {
  install({ command: COMMAND, env: ENVIRONMENT });
  await assert.rejects(Sidecar.spawn({ program: "binaries/other" }), /not configured/);
  await assert.rejects(Sidecar.spawn({ args: ["--database", "/etc/passwd"] }), /regex validation/);
  await assert.rejects(Sidecar.spawn(), /regex validation/);
});

for (const cut of ["lines", "pieces", "chunks"] satisfies Cut[]) {
  test(`a run's notifications arrive whole and in order, output handed over in ${cut}`, async (context) => {
    const { sidecar } = await launch(context, { cut });
    const heard: string[] = [];
    const counters: number[] = [];
    let answered: string | null = null;
    sidecar.on("tagging-batch", ({ run_id, ok }) => {
      assert.equal(run_id, answered, "the answer to auto_tag_files goes first");
      assert.ok(ok);
      heard.push("batch");
    });
    sidecar.on("tagging-progress", (progress) => {
      heard.push("progress");
      counters.push(progress.processed_files);
      const { processed_files, failed_files, skipped_files, remaining_files } = progress;
      assert.equal(processed_files + failed_files + skipped_files + remaining_files, FILES);
    });
    const complete = new Promise<void>((resolve) => {
      sidecar.on("tagging-complete", ({ success, status, processed_files }) => {
        assert.deepEqual([success, status, processed_files], [true, "completed", FILES]);
        heard.push("complete");
        resolve();
      });
    });
    const started = await sidecar.request("auto_tag_files", { batch_size: 10, max_parallel: 2 });
    answered = started.run_id;
    assert.match(started.message, /started/);
    assert.equal(started.total_batches, 6);
    await complete;
    assert.deepEqual(heard, [...Array(6).fill(["batch", "progress"]).flat(), "complete"]);
    assert.deepEqual(counters, [10, 20, 30, 40, 50, 60]);
    assert.deepEqual(await sidecar.request("count_untagged_files"), { count: 0 });
    await sidecar.stop();
  });
}

test("whoever awaits an answer goes on before what the sidecar said after it", async (context) => {
  const answer = { jsonrpc: "2.0", id: 1, result: { count: 7 } };
  const notification = { jsonrpc: "2.0", method: "tagging-progress", params: { run_id: "r" } };
  const together = JSON.stringify(`${JSON.stringify(answer)}\n${JSON.stringify(notification)}\n`);
  const script = `process.stdin.once("data", () => process.stdout.write(${together}))`;
  const { sidecar } = await launchScript(context, script, { cut: "chunks" });
  const order: string[] = [];
  const heard = new Promise<void>((resolve) => {
    sidecar.on("tagging-progress", () => {
      order.push("notification");
      resolve();
    });
  });
  async function count(depth: number): Promise<number> {
    return depth ? count(depth - 1) : (await sidecar.request("count_untagged_files")).count;
  }
  await count(20);
  order.push("answer");
  await heard;
  assert.deepEqual(order, ["answer", "notification"]);
});

test("a cancel is answered after the completion that it caused", async (context) => {
  const { sidecar } = await launch(context, {}, SLOW);
  const heard: string[] = [];
  sidecar.on("tagging-complete", ({ status }) => heard.push(status));
  const { run_id } = await sidecar.request("auto_tag_files", { batch_size: 10 });
  const cancelled = await sidecar.request("cancel");
  heard.push("answer");
  assert.deepEqual(heard, ["cancelled", "answer"]);
  assert.equal(cancelled.run_id, run_id);
  assert.deepEqual([cancelled.cancelled, cancelled.status, cancelled.remaining_files], [true, "cancelled", FILES]);
  await sidecar.stop();
});

test("a failed call is a SidecarError with the code, the sentence and the data", async (context) => {
  const { sidecar } = await launch(context, {}, SLOW);
  const unknown = await rejection(sidecar.request("get_run", { run_id: "nobody" }));
  assert.equal(unknown.code, ErrorCode.NoSuchRun);
  assert.ok(unknown.message);
  const { run_id } = await sidecar.request("auto_tag_files");
  const active = await rejection(sidecar.request("auto_tag_files"));
  assert.equal(active.code, ErrorCode.RunActive);
  assert.deepEqual(active.data, { run_id });
  const invalid = await rejection(sidecar.request("auto_tag_files", { batch_size: 0 }));
  assert.equal(invalid.code, ErrorCode.InvalidParams);
  assert.match(invalid.message, /batch_size/);
  await sidecar.stop();
});

test("calls that wait when the sidecar is killed are rejected, and so are later ones", async (context) => {
  const { sidecar, shell } = await launch(context, {}, SLOW);
  const exits: (number | null)[] = [];
  sidecar.onExit((code) => exits.push(code));
  await sidecar.request("status");
  const waiting = sidecar.request("check_gemini_api_key", { verify: true });
  await sidecar.request("status"); // read after the call above
  shell.children[0]?.kill("SIGKILL");
  const pending = await rejection(waiting);
  assert.deepEqual([pending.code, pending.data], [0, undefined]);
  assert.match(pending.message, /has ended/);
  assert.equal((await rejection(sidecar.request("status"))).code, 0);
  assert.deepEqual(exits, [null]);
  assert.equal(await ended(sidecar), null, "a late listener is called too");
  assert.deepEqual(exits, [null], "a listener is called once");
  await sidecar.stop();
});

test("stop ends a sidecar with a run under way cleanly, and may be called twice", async (context) => {
  const { sidecar, shell } = await launch(context, {}, SLOW);
  const exits: (number | null)[] = [];
  const completed: string[] = [];
  sidecar.onExit((code) => exits.push(code));
  sidecar.on("tagging-complete", ({ status }) => completed.push(status));
  await sidecar.request("auto_tag_files");
  await Promise.all([sidecar.stop(), sidecar.stop()]);
  assert.deepEqual([exits, completed], [[0], ["cancelled"]]);
  assert.equal(shell.children[0]?.exitCode, 0);
  assert.equal(await sidecar.stop(), true);
});

test("stop kills what does not end by itself", async (context) => {
  const { sidecar, shell } = await launchScript(context, STUBBORN);
  const waiting = rejection(sidecar.request("status"));
  assert.equal(await sidecar.stop(), true);
  assert.equal(shell.children[0]?.signalCode, "SIGKILL");
  assert.match((await waiting).message, /has ended/);
});

for (const kill of ["refused", "lost"] satisfies Setup["kill"][]) {
  test(`stop gives up, and lets a window close, where the kill is ${kill}`, async (context) => {
    const { sidecar } = await launchScript(context, STUBBORN, { kill });
    assert.equal(await sidecar.stop(), false);
  });
}

test("writes go out one after the other, in the order of the calls", async (context) => {
  const { sidecar, shell } = await launch(context, { writing: [40, 20, 0] });
  const [first, second, third] = await Promise.all([
    sidecar.request("status"),
    sidecar.request("count_untagged_files"),
    sidecar.request("check_gemini_api_key"),
  ]);
  assert.deepEqual([first.name, second, third], ["ligeia-sidecar", { count: FILES }, true]);
  assert.equal(shell.overlapping, 1);
  const methods = shell.written.map((line) => (JSON.parse(line) as { method: string }).method);
  assert.deepEqual(methods, ["status", "count_untagged_files", "check_gemini_api_key"]);
  assert.ok(shell.written.every((line) => line.endsWith("\n") && line.split("\n").length === 2));
  await sidecar.stop();
});

test("parameters that are undefined or null are left out", async (context) => {
  const { sidecar, shell } = await launch(context);
  await sidecar.request("get_untagged_files", { limit: 1, after_id: null });
  const params = { limit: undefined, after_id: 5 } as unknown as { after_id: number };
  const files = await sidecar.request("get_untagged_files", params);
  assert.ok(files.every((file) => file.id > 5));
  assert.deepEqual(
    shell.written.map((line) => (JSON.parse(line) as { params: object }).params),
    [{ limit: 1 }, { after_id: 5 }],
  );
  await sidecar.stop();
});

test("the log is drained without a listener, and the first one hears the latest lines", async (context) => {
  const script = `
    for (let line = 1; line <= 20_000; line++) console.error("line " + line + " of a log that nobody reads");
    ${ANSWER}
  `;
  const { sidecar, shell } = await launchScript(context, script);
  assert.deepEqual(await sidecar.request("count_untagged_files"), { count: 7 });
  shell.children[0]?.stdin.end();
  await ended(sidecar);
  const lines: string[] = [];
  sidecar.onLog((line) => lines.push(line));
  assert.equal(lines.length, 100);
  assert.equal(lines.at(-1), "line 20000 of a log that nobody reads");
});

test("a line that is not JSON goes to the log and stops nothing", async (context) => {
  const { sidecar } = await launchScript(context, `console.log("Segmentation fault"); ${ANSWER}`);
  const lines: string[] = [];
  sidecar.onLog((line) => lines.push(line));
  assert.deepEqual(await sidecar.request("count_untagged_files"), { count: 7 });
  assert.deepEqual(lines, ["The sidecar wrote a line that is not JSON: Segmentation fault"]);
});

test("a listener that throws stops no other, and its error is not lost", async (context) => {
  const notification = { jsonrpc: "2.0", method: "tagging-progress", params: { run_id: "r" } };
  const script = `process.stdin.once("data", () => console.log('${JSON.stringify(notification)}'))`;
  const { sidecar } = await launchScript(context, script);
  const thrown: unknown[] = [];
  context.mock.method(globalThis, "queueMicrotask", (task: () => void) => {
    try {
      task();
    } catch (error) {
      thrown.push(error);
    }
  });
  sidecar.on("tagging-progress", () => {
    throw new Error("from a listener");
  });
  const ignored = sidecar.on("tagging-progress", () => assert.fail("it was taken off"));
  ignored();
  const heard = new Promise((resolve) => sidecar.on("tagging-progress", resolve));
  rejection(sidecar.request("status")).catch(() => undefined);
  assert.deepEqual(await heard, { run_id: "r" });
  assert.match(String(thrown[0]), /from a listener/);
});
