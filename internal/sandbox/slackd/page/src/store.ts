// The connection to the server, and what is known through it.
import { useSyncExternalStore } from "react";
import type { Channel, Frame, Hello, Message, Result, View } from "./protocol";

export type History = { list: Message[]; more: boolean; loaded: boolean };

export type State = {
  status: "connecting" | "open" | "lost";
  hello: Hello | null;
  channels: Channel[];
  connected: boolean; // the app
  history: Record<string, History>;
  threads: Record<string, Message[]>; // by the parent's ts, parent first
  told: Record<string, Message[]>; // ephemerals by channel
  stack: View[];
  home: View | null;
};

const empty: State = { status: "connecting", hello: null, channels: [], connected: true, history: {}, threads: {}, told: {}, stack: [], home: null };

let state = empty;
const listeners = new Set<() => void>();
function set(next: Partial<State>) {
  state = { ...state, ...next };
  listeners.forEach((f) => f());
}

export function useStore<T>(pick: (s: State) => T): T {
  return useSyncExternalStore((f) => (listeners.add(f), () => listeners.delete(f)), () => pick(state));
}

let socket: WebSocket | null = null;
let serial = 0;
let wait = 250;
const waiting = new Map<number, (r: Result) => void>();

// connect opens the socket as a person, and again whenever it is lost.
export function connect(user: string) {
  // Whoever came as "me" is somebody by now.
  if (socket?.readyState === WebSocket.OPEN && state.status === "open" && state.hello?.me === user) return;
  socket?.close();
  const query = user && user !== "me" ? "?user=" + encodeURIComponent(user) : "";
  const s = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ui${query}`);
  socket = s;
  s.onmessage = (e) => socket === s && take(JSON.parse(e.data));
  s.onopen = () => (wait = 250);
  s.onclose = () => {
    if (socket !== s) return;
    fail();
    set({ status: "lost" });
    setTimeout(() => socket === s && connect(user), wait);
    wait = Math.min(wait * 2, 5000);
  };
}

function fail() {
  for (const f of waiting.values()) f({ ok: false, error: "lost", text: "The connection to Spanbot was lost. Try again." });
  waiting.clear();
}

// ask sends a request and waits for its result, which never rejects.
export function ask(t: string, args: Record<string, unknown> = {}): Promise<Result> {
  if (socket?.readyState !== WebSocket.OPEN) {
    return Promise.resolve({ ok: false, error: "lost", text: "There is no connection to Spanbot. Try again in a moment." });
  }
  const id = ++serial;
  return new Promise((done) => {
    waiting.set(id, done);
    socket!.send(JSON.stringify({ ...args, id, t }));
  });
}

function take(f: Frame) {
  switch (f.t) {
    case "hello": {
      // A new start of the server is another workspace; what was known is gone.
      const same = state.hello?.team.id === f.team.id && state.hello.me === f.me;
      const threads = same ? state.threads : {};
      // Open forms stay, with what was typed in them; their frame follows.
      const kept = same ? { told: state.told, stack: state.stack, home: state.home } : {};
      set({ ...empty, status: "open", hello: f, channels: f.channels, connected: f.app.connected, threads, ...kept });
      for (const ts of Object.keys(threads)) void reload(ts);
      break;
    }
    case "channel":
      set({ channels: state.channels.some((c) => c.id === f.channel.id)
        ? state.channels.map((c) => (c.id === f.channel.id ? f.channel : c))
        : [...state.channels, f.channel] });
      break;
    case "message":
      put(f.channel, f.message);
      break;
    case "deleted":
      set({
        history: change(state.history, f.channel, (h) => ({ ...h, list: h.list.filter((m) => m.ts !== f.ts) })),
        threads: Object.fromEntries(Object.entries(state.threads).map(([ts, list]) => [ts, list.filter((m) => m.ts !== f.ts)])),
      });
      break;
    case "ephemeral":
      set({ told: { ...state.told, [f.channel]: [...(state.told[f.channel] ?? []).filter((m) => m.ts !== f.message.ts), f.message] } });
      break;
    case "ephemeral_deleted":
      set({ told: { ...state.told, [f.channel]: (state.told[f.channel] ?? []).filter((m) => m.ts !== f.ts) } });
      break;
    case "views":
      set({ stack: f.stack });
      break;
    case "home":
      set({ home: f.view });
      break;
    case "app":
      set({ connected: f.connected });
      break;
    case "result": {
      const done = waiting.get(f.id);
      waiting.delete(f.id);
      done?.(f);
    }
  }
}

function change<T>(all: Record<string, T>, key: string, f: (v: T) => T): Record<string, T> {
  return all[key] === undefined ? all : { ...all, [key]: f(all[key]) };
}

const by = (a: Message, b: Message) => (a.ts < b.ts ? -1 : 1);
const merged = (list: Message[], m: Message) => [...list.filter((o) => o.ts !== m.ts), m].sort(by);

function put(channel: string, m: Message) {
  const parent = m.thread_ts && m.thread_ts !== m.ts ? m.thread_ts : m.ts;
  const next: Partial<State> = {};
  if (state.threads[parent]) next.threads = { ...state.threads, [parent]: merged(state.threads[parent], m) };
  if (parent === m.ts) {
    next.history = change(state.history, channel, (h) => {
      // Older than what is loaded: it comes when somebody scrolls there.
      const known = h.list.some((o) => o.ts === m.ts);
      return h.more && !known && h.list.length > 0 && m.ts < h.list[0].ts ? h : { ...h, list: merged(h.list, m) };
    });
  }
  set(next);
}

// load fetches the newest messages of a channel, or those before the oldest one.
export async function load(channel: string, older = false) {
  const h = state.history[channel];
  if (h && !older) return;
  if (!h) set({ history: { ...state.history, [channel]: { list: [], more: false, loaded: false } } });
  const r = await ask("history", { channel, limit: 50, ...(older && h?.list.length ? { before: h.list[0].ts } : {}) });
  if (!r.ok) {
    if (!h) { const { [channel]: _, ...rest } = state.history; set({ history: rest }); }
    return;
  }
  const now = state.history[channel]?.list ?? [];
  const list = [...now, ...(r.messages ?? []).filter((m) => !now.some((o) => o.ts === m.ts))].sort(by);
  set({ history: { ...state.history, [channel]: { list, more: !!r.has_more, loaded: true } } });
}

const places: Record<string, string> = {};

// openThread fetches a thread and keeps it up to date from then on.
export async function openThread(channel: string, ts: string) {
  places[ts] = channel;
  await reload(ts);
}

async function reload(ts: string) {
  const r = await ask("replies", { channel: places[ts], ts });
  if (r.ok) set({ threads: { ...state.threads, [ts]: r.messages ?? [] } });
}
