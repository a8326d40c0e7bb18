// Compiled, never run: what the client's types let through, and what they refuse.

import type { ErrorCode, ErrorData, Notifications, Reason } from "../client/contract.js";
import { request } from "../client/bridge.js";
import type { Sidecar } from "../client/sidecar.js";

export async function use(sidecar: Sidecar): Promise<void> {
  const started = await sidecar.request("auto_tag_files", { batch_size: 20, mode: "replace", file_ids: null });
  const id: string | null = started.run_id;
  const version: string = (await sidecar.request("status")).version;
  const nothing: null = await sidecar.request("shutdown");
  const titles: (string | null)[] = (await sidecar.request("get_untagged_files", {})).map((file) => file.title);
  const stop: () => void = sidecar.on("tagging-complete", ({ success, usage }) => [success, usage.requests]);
  const active: ErrorData[typeof ErrorCode.RunActive] = { run_id: id };
  const reasons: Reason[] = (await sidecar.request("get_run")).failures.map((failure) => failure.reason);
  void [version, nothing, titles, stop, active, reasons];

  // @ts-expect-error: no such method
  void sidecar.request("auto_tag");
  // @ts-expect-error: no such parameter
  void sidecar.request("auto_tag_files", { batchSize: 20 });
  // @ts-expect-error: no such mode
  void sidecar.request("auto_tag_files", { mode: "overwrite" });
  // @ts-expect-error: a required parameter is missing
  void sidecar.request("get_tagging_history", {});
  // @ts-expect-error: all of them are
  void sidecar.request("undo_run");
  // @ts-expect-error: and in the bridge
  void request("undo_run");
  // @ts-expect-error: a method without parameters
  void sidecar.request("status", { verbose: true });
  // @ts-expect-error: no such notification
  sidecar.on("tagging-started", () => undefined);
  // @ts-expect-error: no such field
  sidecar.on("tagging-progress", ({ percent }) => percent);
  // @ts-expect-error: a field that is always there
  const batch: Notifications["tagging-batch"] = { run_id: "r", batch: 1, ok: true };
  void batch;
}
