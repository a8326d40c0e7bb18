// bridge.ts: the names that the Rust module goes by, and the events' payloads.

import assert from "node:assert/strict";
import { test } from "node:test";
import { emit } from "@tauri-apps/api/event";
import { mockIPC } from "@tauri-apps/api/mocks";

import type { Progress } from "../client/contract.js";
import { on, request, start } from "../client/bridge.js";

globalThis.window = globalThis as unknown as Window & typeof globalThis;

test("a call is the command of the Rust module", async () => {
  const invoked: unknown[] = [];
  mockIPC((command, args) => {
    invoked.push([command, args]);
    if (invoked.length === 2) throw { code: -32002, message: "There is no such run." };
    return { count: 3 };
  });
  assert.deepEqual(await request("count_untagged_files"), { count: 3 });
  await assert.rejects(request("get_run", { run_id: "r" }), { code: -32002, message: "There is no such run." });
  assert.deepEqual(invoked, [
    ["sidecar_request", { method: "count_untagged_files", params: {} }],
    ["sidecar_request", { method: "get_run", params: { run_id: "r" } }],
  ]);
});

test("a start is a command of its own", async () => {
  const invoked: unknown[] = [];
  mockIPC((command, args) => void invoked.push([command, args]));
  await start();
  assert.deepEqual(invoked, [["sidecar_start", {}]]);
});

test("an event's payload reaches its listener until it is taken off", async () => {
  mockIPC(() => undefined, { shouldMockEvents: true });
  const heard: Progress[] = [];
  const unlisten = await on("tagging-progress", (progress) => heard.push(progress));
  await emit("tagging-progress", { run_id: "r" });
  unlisten();
  await emit("tagging-progress", { run_id: "s" });
  assert.deepEqual(heard, [{ run_id: "r" }]);
});
