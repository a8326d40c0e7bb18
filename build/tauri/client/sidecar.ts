// A typed client of ligeia-sidecar for the page, over @tauri-apps/plugin-shell. Copy it with contract.ts.

import { Command, type Child } from "@tauri-apps/plugin-shell";
import type { Arguments, Methods, Notifications } from "./contract";

/** As in `bundle.externalBin` of tauri.conf.json and in the capability file. */
const PROGRAM = "binaries/ligeia-sidecar";

/** The sidecar ends within two seconds of `shutdown`. */
const STOP_MILLISECONDS = 2_000;

/** Log lines kept for the first listener: what the sidecar says while it starts is the most wanted. */
const EARLY_LOG_LINES = 100;

const GONE = "The sidecar has ended. Start it again to go on: what is tagged is saved.";

/** How a request failed. `message` is a sentence for the person. */
export class SidecarError extends Error {
  /** As in `ErrorCode` of contract.ts; 0 when the sidecar ended, or could not be written to, before it answered. */
  readonly code: number;
  /** What a program may need, e.g. `{ run_id }` of the run that is active. */
  readonly data: unknown;

  constructor(code: number, message: string, data?: unknown) {
    super(message);
    this.name = "SidecarError";
    this.code = code;
    this.data = data;
  }
}

export interface SpawnOptions {
  /** The sidecar's name in the capability file, if not `binaries/ligeia-sidecar`. */
  program?: string;
  /** E.g. `["--database", path]`; the capability file must allow them. Never the API key: others can read it. */
  args?: string[];
  /** Added to what the shell's own environment holds. */
  env?: Record<string, string>;
  /** A command made elsewhere, instead of the three above. */
  command?: Command<string>;
}

interface Message {
  id?: number | null;
  result?: unknown;
  error?: { code: number; message: string; data?: unknown };
  method?: keyof Notifications;
  params?: unknown;
}

interface Pending {
  resolve(result: unknown): void;
  reject(error: SidecarError): void;
}

type Arrival = { message: Message } | { exit: number | null };

/** One running sidecar. */
export class Sidecar {
  #child!: Child;
  #rest = "";
  #lastId = 0;
  #exit: { code: number | null } | undefined;
  #early: string[] | undefined = [];
  #lastWrite: Promise<void> = Promise.resolve();
  #delivering = false;
  readonly #arrivals: Arrival[] = [];
  readonly #pending = new Map<number, Pending>();
  readonly #notified = new Map<string, Set<(params: unknown) => void>>();
  readonly #exited = new Set<(code: number | null) => void>();
  readonly #logged = new Set<(line: string) => void>();

  private constructor(command: Command<string>) {
    command.stdout.on("data", (text) => this.#read(text));
    command.stderr.on("data", (line) => this.#log(line.trimEnd()));
    command.on("error", (reason) => this.#log(`The shell could not read a line of the sidecar: ${reason}`));
    command.on("close", ({ code }) => this.#arrive({ exit: code }));
  }

  /** Starts a sidecar. Rejects, with the shell's own words, where the shell may not or can not start it. */
  static async spawn(options: SpawnOptions = {}): Promise<Sidecar> {
    const { program = PROGRAM, args = [], env = {} } = options;
    const command = options.command ?? Command.sidecar(program, args, { env });
    const sidecar = new Sidecar(command);
    sidecar.#child = await command.spawn();
    return sidecar;
  }

  /**
   * The result of one call. Rejects with a SidecarError.
   *
   * Calls are served at the same time: a run under way never delays the answer to another call.
   * Parameters that are undefined or null are left out, and mean the default.
   */
  request<M extends keyof Methods>(method: M, ...[params]: Arguments<M>): Promise<Methods[M]["result"]> {
    return new Promise((resolve, reject) => {
      if (this.#exit) {
        reject(new SidecarError(0, GONE));
        return;
      }
      const id = ++this.#lastId;
      this.#pending.set(id, { resolve: resolve as (result: unknown) => void, reject });
      this.#write({ jsonrpc: "2.0", id, method, params: withoutNothing(params ?? {}) }).catch(
        (reason: unknown) => {
          this.#pending.delete(id);
          reject(new SidecarError(0, `The sidecar can't be written to: ${String(reason)}`));
        },
      );
    });
  }

  /** Calls `listener` for each notification of that name, in the order they were sent. Returns what ends it. */
  on<N extends keyof Notifications>(name: N, listener: (params: Notifications[N]) => void): () => void {
    const listeners = this.#notified.get(name) ?? new Set();
    this.#notified.set(name, listeners);
    return subscribe(listeners, listener as (params: unknown) => void);
  }

  /** Calls `listener` once, when the sidecar has ended; also when it had ended before. `code` is null after a kill. */
  onExit(listener: (code: number | null) => void): () => void {
    const unsubscribe = subscribe(this.#exited, listener);
    const ended = this.#exit;
    if (ended) {
      queueMicrotask(() => {
        if (this.#exited.delete(listener)) listener(ended.code);
      });
    }
    return unsubscribe;
  }

  /** Calls `listener` for each line of the sidecar's log. */
  onLog(listener: (line: string) => void): () => void {
    const unsubscribe = subscribe(this.#logged, listener);
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const line of early) tell([listener], line);
    return unsubscribe;
  }

  /**
   * Ends the sidecar: by `shutdown`, which saves what is under way, else by a kill after two seconds.
   *
   * Resolves to whether its end was seen, after four seconds at most. Never rejects: it is called where a window
   * closes, and Tauri keeps a window open whose handler rejects.
   */
  async stop(): Promise<boolean> {
    if (this.#exit) return true;
    const gone = new Promise<true>((resolve) => this.onExit(() => resolve(true)));
    this.request("shutdown").catch(() => undefined); // its answer may be lost to the end it asks for
    if (await Promise.race([gone, after(STOP_MILLISECONDS)])) return true;
    this.#child.kill().catch((reason: unknown) => this.#log(`The sidecar could not be killed: ${String(reason)}`));
    return Promise.race([gone, after(STOP_MILLISECONDS)]);
  }

  /** One line at a time: two writes of the plugin under way together may overtake each other. */
  #write(message: object): Promise<void> {
    const written = this.#lastWrite.then(() => this.#child.write(`${JSON.stringify(message)}\n`));
    this.#lastWrite = written.catch(() => undefined);
    return written;
  }

  #read(text: string): void {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      if (!line.trim()) continue;
      try {
        this.#arrive({ message: JSON.parse(line) as Message });
      } catch {
        this.#log(`The sidecar wrote a line that is not JSON: ${line.slice(0, 200)}`);
      }
    }
  }

  #arrive(arrival: Arrival): void {
    this.#arrivals.push(arrival);
    if (!this.#delivering) void this.#deliver();
  }

  /** In the order of arrival, with a turn of the event loop after each answer: whoever awaits it goes first. */
  async #deliver(): Promise<void> {
    this.#delivering = true;
    for (let next = this.#arrivals.shift(); next; next = this.#arrivals.shift()) {
      if ("exit" in next) this.#end(next.exit);
      else if (next.message.method) tell(this.#notified.get(next.message.method) ?? [], next.message.params);
      else {
        this.#answer(next.message);
        await turn();
      }
    }
    this.#delivering = false;
  }

  #answer({ id, result, error }: Message): void {
    const pending = this.#pending.get(id ?? 0);
    if (!pending) return;
    this.#pending.delete(id ?? 0);
    if (error) pending.reject(new SidecarError(error.code, error.message, error.data));
    else pending.resolve(result);
  }

  #end(code: number | null): void {
    this.#exit = { code };
    for (const { reject } of this.#pending.values()) reject(new SidecarError(0, GONE));
    this.#pending.clear();
    tell(this.#exited, code);
  }

  #log(line: string): void {
    if (!this.#early) tell(this.#logged, line);
    else if (this.#early.push(line) > EARLY_LOG_LINES) this.#early.shift();
  }
}

function withoutNothing(params: object): object {
  return Object.fromEntries(Object.entries(params).filter(([, value]) => value !== undefined && value !== null));
}

function subscribe<T>(listeners: Set<T>, listener: T): () => void {
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
  };
}

/** Calls each; one that throws stops no other, and its error reaches the page's `error` event. */
function tell<T>(listeners: Iterable<(value: T) => void>, value: T): void {
  for (const listener of [...listeners]) {
    try {
      listener(value);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}

function after(milliseconds: number): Promise<false> {
  return new Promise((resolve) => setTimeout(() => resolve(false), milliseconds));
}

/** One turn of the event loop. Not by a timer: a hidden window's are slowed down. */
function turn(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
