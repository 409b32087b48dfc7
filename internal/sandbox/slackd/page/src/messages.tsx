// Messages: a channel's list, a thread, and one message with its menu.
import { memo, useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import { Blocks, Plain } from "./blocks";
import { Composer } from "./composer";
import { Dialog, SurfaceContext, type Surface } from "./elements";
import { go } from "./place";
import type { Message, User } from "./protocol";
import { ask, load, openThread, useStore } from "./store";

const seconds = (ts: string) => new Date(Number(ts.split(".")[0]) * 1000);
const clock = (ts: string) => seconds(ts).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
const day = (ts: string) => {
  const d = seconds(ts);
  if (d.toDateString() === new Date().toDateString()) return "Today";
  return d.toLocaleDateString(undefined, { weekday: "long", day: "numeric", month: "long" });
};

export function Avatar({ user, size = 36 }: { user?: User; size?: number }) {
  const style = { width: size, height: size, background: user?.color ?? "#616061", fontSize: size * 0.42 };
  return <span className="avatar" style={style} aria-hidden>{user?.is_bot ? "✓" : user?.real_name.split(" ").map((w) => w[0]).join("").slice(0, 2)}</span>;
}

// ChannelView is a channel: header, messages, composer.
export function ChannelView({ id, at, back }: { id: string; at: string; back: () => void }) {
  const channel = useStore((s) => s.channels.find((c) => c.id === id));
  const history = useStore((s) => s.history[id]);
  const told = useStore((s) => s.told[id]);
  const status = useStore((s) => s.status);
  useEffect(() => { if (status === "open" && !history) void load(id); }, [id, status, history]);

  const list = useMemo(() => [...(history?.list ?? []), ...(told ?? []).filter((m) => !m.thread_ts)].sort((a, b) => (a.ts < b.ts ? -1 : 1)), [history, told]);
  useReading(id, list);
  if (!channel) return <main className="pane"><p className="empty">There is no such channel.</p></main>;
  return (
    <main className="pane" aria-label={"#" + channel.name}>
      <header className="pane-head">
        <button type="button" className="icon-button only-narrow" aria-label="Back to channels" onClick={back}>‹</button>
        <h1># {channel.name}</h1>
        <span className="topic">{channel.topic}</span>
      </header>
      <Scrolling id={id} list={list} more={!!history?.more} at={at}>
        {history?.loaded && !history.more && (
          <div className="beginning"><h2># {channel.name}</h2><p>This is the very beginning of the channel. {channel.topic}{/[.!?]$/.test(channel.topic) ? "" : "."}</p></div>
        )}
        <List channel={id} list={list} />
      </Scrolling>
      <Composer channel={id} label={"Message #" + channel.name} />
    </main>
  );
}

// useReading says what was seen, while somebody looks.
function useReading(channel: string, list: Message[]) {
  const newest = list.filter((m) => !m.is_ephemeral).at(-1)?.ts;
  useEffect(() => {
    const seen = () => { if (newest && !document.hidden) void ask("read", { channel, ts: newest }); };
    seen();
    document.addEventListener("visibilitychange", seen);
    return () => document.removeEventListener("visibilitychange", seen);
  }, [channel, newest]);
}

// Scrolling keeps the newest in sight, unless somebody reads further up.
function Scrolling({ id, list, more, at, children }: { id: string; list: Message[]; more: boolean; at: string; children: React.ReactNode }) {
  const box = useRef<HTMLDivElement>(null);
  const inner = useRef<HTMLDivElement>(null);
  const stuck = useRef(true);
  const [away, setAway] = useState(false);
  const bottom = () => { box.current!.scrollTop = box.current!.scrollHeight; };
  useLayoutEffect(() => { stuck.current = true; setAway(false); bottom(); }, [id]);
  useLayoutEffect(() => { if (stuck.current) bottom(); }, [list]);
  useEffect(() => {
    const o = new ResizeObserver(() => { if (stuck.current && box.current) bottom(); });
    o.observe(inner.current!);
    o.observe(box.current!);
    return () => o.disconnect();
  }, []);
  useEffect(() => {
    const m = at && box.current!.querySelector<HTMLElement>(`[data-testid="message-${CSS.escape(at)}"]`);
    if (!m) return;
    stuck.current = false;
    m.scrollIntoView({ block: "center" });
    m.classList.add("asked");
  }, [at, list.length > 0]);
  const fetching = useRef(false);
  const scrolled = async () => {
    const b = box.current!;
    stuck.current = b.scrollHeight - b.scrollTop - b.clientHeight < 60;
    setAway(!stuck.current);
    if (b.scrollTop < 200 && more && !fetching.current) {
      fetching.current = true;
      const below = b.scrollHeight - b.scrollTop;
      await load(id, true);
      requestAnimationFrame(() => { b.scrollTop = b.scrollHeight - below; fetching.current = false; });
    }
  };
  return (
    <div className="scroll-frame">
      <div className="scroll" ref={box} onScroll={scrolled} tabIndex={0} role="log" aria-label="Messages"><div ref={inner}>{children}</div></div>
      {away && <button type="button" className="latest" onClick={() => { stuck.current = true; setAway(false); bottom(); }}>Jump to latest ↓</button>}
    </div>
  );
}

function List({ channel, list, thread }: { channel: string; list: Message[]; thread?: boolean }) {
  return (
    <>
      {list.map((m, i) => {
        const before = list[i - 1];
        const newDay = !thread && (!before || day(before.ts) !== day(m.ts));
        const goesOn = !newDay && before && before.user === m.user && !before.is_ephemeral === !m.is_ephemeral && !m.blocks && !before.blocks
          && seconds(m.ts).getTime() - seconds(before.ts).getTime() < 300_000;
        return (
          <div key={m.ts}>
            {newDay && <div className="day"><span>{day(m.ts)}</span></div>}
            <MessageRow channel={channel} m={m} goesOn={!!goesOn} thread={thread} />
          </div>
        );
      })}
    </>
  );
}

const MessageRow = memo(function MessageRow({ channel, m, goesOn, thread }: { channel: string; m: Message; goesOn: boolean; thread?: boolean }) {
  const users = useStore((s) => s.hello?.users);
  const user = users?.find((u) => u.id === m.user);
  const [json, setJSON] = useState(false);
  const surface: Surface = useMemo(() => ({
    act: (action) => ask("action", { channel, ts: m.ts, action, values: {} }),
  }), [channel, m.ts]);
  return (
    <article className={`message ${goesOn ? "goes-on" : ""} ${m.is_ephemeral ? "ephemeral" : ""}`} data-testid={"message-" + m.ts} aria-label={`${user?.real_name ?? m.user}, ${clock(m.ts)}`}>
      {goesOn ? <time className="aside" title={seconds(m.ts).toLocaleString()}>{clock(m.ts)}</time> : <Avatar user={user} />}
      <div className="content">
        {m.is_ephemeral && <p className="only-you">👁 Only visible to you <button type="button" className="link" onClick={() => ask("dismiss", { channel, ts: m.ts })}>Dismiss message</button></p>}
        {!goesOn && (
          <p className="who">
            <b>{user?.real_name ?? (m.subtype === "tombstone" ? "" : m.user)}</b>
            {user?.is_bot && <span className="app-badge">APP</span>}
            <time title={seconds(m.ts).toLocaleString()}>{clock(m.ts)}</time>
          </p>
        )}
        <SurfaceContext.Provider value={surface}>
          <div className="text">{m.blocks?.length ? <Blocks blocks={m.blocks} /> : <Plain text={m.text} />}{m.edited && <span className="edited" title={seconds(m.edited.ts).toLocaleString()}> (edited)</span>}</div>
        </SurfaceContext.Provider>
        {!thread && !!m.reply_count && (
          <button type="button" className="replies" data-testid={"thread-open-" + m.ts} onClick={() => go({ where: channel, thread: m.ts })}>
            {m.reply_users?.slice(0, 4).map((u) => <Avatar key={u} size={22} user={users?.find((x) => x.id === u)} />)}
            <b>{m.reply_count} {m.reply_count === 1 ? "reply" : "replies"}</b>
            <span>Last reply {clock(m.latest_reply ?? m.ts)}</span>
          </button>
        )}
      </div>
      <Menu channel={channel} m={m} thread={thread} json={() => setJSON(true)} />
      {json && <JSONView m={m} close={() => setJSON(false)} />}
    </article>
  );
}, (a, b) => a.channel === b.channel && a.goesOn === b.goesOn && a.thread === b.thread && JSON.stringify(a.m) === JSON.stringify(b.m));

// builder is Slack's Block Kit Builder with a message in it. It is a link, and
// nothing is sent before somebody follows it.
const builder = (m: Message) => "https://app.slack.com/block-kit-builder/#" + encodeURIComponent(JSON.stringify({ blocks: m.blocks ?? [] }));

function Menu({ channel, m, thread, json }: { channel: string; m: Message; thread?: boolean; json: () => void }) {
  const [copied, setCopied] = useState(false);
  const link = () => {
    const reply = m.thread_ts && m.thread_ts !== m.ts ? `?thread_ts=${m.thread_ts}&cid=${channel}` : "";
    void navigator.clipboard?.writeText(`${location.origin}/archives/${channel}/p${m.ts.replace(".", "")}${reply}`);
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  };
  return (
    <div className="message-menu" role="toolbar" aria-label="Message" data-testid={"message-menu-" + m.ts}>
      {!thread && !m.is_ephemeral && <button type="button" title="Reply in thread" aria-label="Reply in thread" onClick={() => go({ where: channel, thread: m.ts })}>💬</button>}
      {!m.is_ephemeral && <button type="button" title="Copy link" aria-label="Copy link" onClick={link}>{copied ? "✓" : "🔗"}</button>}
      <button type="button" title="View JSON" aria-label="View JSON" onClick={json}>{"{ }"}</button>
      {m.blocks && <a href={builder(m)} target="_blank" rel="noopener noreferrer" title="Open in Block Kit Builder (leaves this machine)" aria-label="Open in Block Kit Builder">🧱</a>}
    </div>
  );
}

function JSONView({ m, close }: { m: Message; close: () => void }) {
  const text = JSON.stringify(m, null, 2);
  return (
    <Dialog className="modal wide" label="The message as JSON" testid="json-view" close={close}>
      <form method="dialog" onSubmit={(e) => { e.preventDefault(); close(); }}>
        <header><h2>The message as JSON</h2><button type="button" className="icon-button" aria-label="Close" onClick={close}>✕</button></header>
        <div className="body"><pre dir="auto">{text}</pre></div>
        <footer>
          {m.blocks && <a className="button" href={builder(m)} target="_blank" rel="noopener noreferrer">Block Kit Builder ↗</a>}
          <button type="button" className="button" onClick={() => navigator.clipboard?.writeText(text)}>Copy</button>
          <button type="submit" className="button primary">Close</button>
        </footer>
      </form>
    </Dialog>
  );
}

// Thread is the panel with a message and its replies.
export function Thread({ channel, ts }: { channel: string; ts: string }) {
  const list = useStore((s) => s.threads[ts]);
  const told = useStore((s) => s.told[channel]);
  const name = useStore((s) => s.channels.find((c) => c.id === channel)?.name);
  const status = useStore((s) => s.status);
  const close = () => go({ thread: "" });
  useEffect(() => { if (status === "open") void openThread(channel, ts); }, [channel, ts, status]);
  const all = useMemo(() => [...(list ?? []), ...(told ?? []).filter((m) => m.thread_ts === ts)].sort((a, b) => (a.ts < b.ts ? -1 : 1)), [list, told, ts]);
  const replies = all.length - 1;
  return (
    <aside className="thread" data-testid="thread" aria-label="Thread" onKeyDown={(e) => { if (e.key === "Escape") close(); }}>
      <header className="pane-head">
        <h2>Thread <span className="topic"># {name}</span></h2>
        <button type="button" className="icon-button" aria-label="Close thread" data-testid="thread-close" onClick={close}>✕</button>
      </header>
      <div className="scroll" tabIndex={0} role="log" aria-label="Thread">
        {all.length > 0 ? (
          <>
            <List channel={channel} list={all.slice(0, 1)} thread />
            {replies > 0 && <div className="day replies-count"><span>{replies} {replies === 1 ? "reply" : "replies"}</span></div>}
            <List channel={channel} list={all.slice(1)} thread />
          </>
        ) : list && <p className="empty">This message is gone.</p>}
      </div>
      <Composer channel={channel} thread={ts} label="Reply…" />
    </aside>
  );
}
