// The native half of the shell plugin, over node: what `Command` and `Child` reach by `invoke` in a real window.

import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { mockIPC } from "@tauri-apps/api/mocks";

/** How output is handed over: a line at a time as the plugin does, or cut and joined against it. */
export type Cut = "lines" | "pieces" | "chunks";

export interface Setup {
  /** What is started for the program of the capability file. */
  command: string[];
  /** The shell's own environment. */
  env: Record<string, string>;
  cut?: Cut;
  /** How long the n-th write to stdin takes, in milliseconds. */
  writing?: number[];
  /** What becomes of a kill that does not work: it fails, or nothing comes of it. */
  kill?: "refused" | "lost";
}

export interface Shell {
  readonly children: ChildProcessWithoutNullStreams[];
  /** Everything written to stdin, a write an entry. */
  readonly written: string[];
  /** The most writes that were under way together. */
  overlapping: number;
}

interface Scope {
  name: string;
  sidecar: boolean;
  args: (string | { validator: string })[];
}

/** From the plugin's source: the first entry of that name counts, and gives each argument its place. */
function allowed(program: string, args: string[]): string[] {
  const config = JSON.parse(readFileSync(requireEnv("LIGEIA_CONFIG"), "utf8"));
  if (!config.bundle.externalBin.includes(program)) throw `sidecar not configured: ${program}`;
  const capability = JSON.parse(readFileSync(requireEnv("LIGEIA_CAPABILITY"), "utf8"));
  const granted = capability.permissions.find(
    (p: { identifier?: string }) => p.identifier === "shell:allow-spawn",
  );
  const scope: Scope | undefined = granted.allow.find((entry: Scope) => entry.name === program);
  if (!scope?.sidecar) throw `Scoped command ${program} not found`;
  return scope.args.map((arg, index) => {
    if (typeof arg === "string") return arg;
    const value = args[index];
    if (value === undefined || !new RegExp(`^(?:${arg.validator})$`).test(value)) {
      throw `Scoped command argument at position ${index} must match regex validation ${arg.validator}`;
    }
    return value;
  });
}

/** Puts the shell behind `invoke`. */
export function install(setup: Setup): Shell {
  const shell: Shell = { children: [], written: [], overlapping: 0 };
  const running = new Map<number, ChildProcessWithoutNullStreams>();
  let writing = 0;

  function start(program: string, args: string[], options: SpawnOptions, onEvent: { id: number }): number {
    const [file, ...first] = setup.command;
    const child = spawn(file ?? "", [...first, ...(options.sidecar ? allowed(program, args) : args)], {
      env: { ...setup.env, ...options.env },
    });
    let index = 0;
    const send = (event: string, payload: unknown) =>
      window.__TAURI_INTERNALS__.runCallback(onEvent.id, { index: index++, message: { event, payload } });
    handOver(child.stdout, setup.cut ?? "lines", (text) => send("Stdout", text));
    handOver(child.stderr, "lines", (text) => send("Stderr", text));
    child.stdin.on("error", () => undefined);
    // As the plugin's end event, node's "close" waits until both streams have no holder left.
    child.on("close", (code, signal) => {
      running.delete(child.pid ?? 0);
      send("Terminated", { code, signal: signal && constants.signals[signal] });
    });
    shell.children.push(child);
    running.set(child.pid ?? 0, child);
    return child.pid ?? 0;
  }

  async function write(pid: number, text: string): Promise<void> {
    shell.overlapping = Math.max(shell.overlapping, ++writing);
    await sleep(setup.writing?.[shell.written.length] ?? 0);
    shell.written.push(text);
    running.get(pid)?.stdin.write(text);
    writing -= 1;
  }

  globalThis.window = globalThis as unknown as Window & typeof globalThis;
  mockIPC((command, payload) => {
    const { program, args, options, onEvent, pid, buffer } = payload as unknown as Call;
    switch (command) {
      case "plugin:shell|spawn":
        return start(program, args, options, onEvent);
      case "plugin:shell|stdin_write":
        return write(pid, buffer);
      case "plugin:shell|kill":
        if (setup.kill === "refused") throw "the process can't be killed";
        return setup.kill ? undefined : void running.get(pid)?.kill("SIGKILL");
      default:
        throw `${command} is not in the capability file`;
    }
  });
  return shell;
}

/** The arguments of the plugin's commands, all of them. */
interface Call {
  program: string;
  args: string[];
  options: SpawnOptions;
  onEvent: { id: number };
  pid: number;
  buffer: string;
}

interface SpawnOptions {
  sidecar?: boolean;
  env?: Record<string, string>;
}

function handOver(stream: NodeJS.ReadableStream, cut: Cut, send: (text: string) => void): void {
  let rest = "";
  stream.setEncoding("utf8");
  stream.on("data", (chunk: string) => {
    if (cut === "chunks") return send(chunk);
    if (cut === "pieces") return (chunk.match(/[^]{1,7}/g) ?? []).forEach(send);
    const lines = (rest + chunk).split(/(?<=\n)/);
    rest = lines.at(-1)?.endsWith("\n") ? "" : (lines.pop() ?? "");
    lines.forEach(send);
  });
  stream.on("end", () => {
    if (rest) send(rest);
  });
}

export function requireEnv(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set: run these tests by pytest tests/tauri`);
  return value;
}

declare global {
  interface Window {
    __TAURI_INTERNALS__: { runCallback(id: number, message: unknown): void };
  }
}
