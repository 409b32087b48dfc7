// The composer: a message, or a slash command with suggestions.
import { useRef, useState } from "react";
import { ask, useStore } from "./store";

export function Composer({ channel, thread, label }: { channel: string; thread?: string; label: string }) {
  const [text, setText] = useState("");
  const [trouble, setTrouble] = useState("");
  const [busy, setBusy] = useState(false);
  const [chosen, setChosen] = useState(0);
  const commands = useStore((s) => s.hello?.commands) ?? [];
  const box = useRef<HTMLTextAreaElement>(null);

  const offers = !thread && /^\/\S*$/.test(text) ? commands.filter((c) => c.command.startsWith(text) && c.command !== text) : [];
  const complete = (command: string) => { setText(command + " "); setChosen(0); box.current?.focus(); };
  const send = async () => {
    if (!text.trim() || busy) return;
    setBusy(true);
    setTrouble("");
    const r = await ask("send", { channel, text: text.trim(), ...(thread ? { thread_ts: thread } : {}) });
    setBusy(false);
    if (r.ok) setText("");
    else setTrouble(r.text ?? r.error ?? "");
    box.current?.focus();
  };
  const key = (e: React.KeyboardEvent) => {
    if (offers.length && (e.key === "ArrowDown" || e.key === "ArrowUp")) {
      e.preventDefault();
      setChosen((chosen + (e.key === "ArrowDown" ? 1 : offers.length - 1)) % offers.length);
    } else if (offers.length && (e.key === "Tab" || e.key === "Enter") && !e.shiftKey) {
      e.preventDefault();
      complete(offers[Math.min(chosen, offers.length - 1)].command);
    } else if (e.key === "Enter" && !e.shiftKey && !e.nativeEvent.isComposing) {
      e.preventDefault();
      void send();
    }
  };
  return (
    <form className="composer" onSubmit={(e) => { e.preventDefault(); void send(); }}>
      {offers.length > 0 && (
        <ul className="offers" role="listbox" aria-label="Commands">
          {offers.map((c, i) => (
            <li key={c.command} role="option" aria-selected={i === chosen} onPointerDown={(e) => { e.preventDefault(); complete(c.command); }}>
              <b>{c.command}</b> <span>{c.usage_hint}</span><small>{c.description}</small>
            </li>
          ))}
        </ul>
      )}
      {trouble && <p className="trouble" role="alert">⚠ {trouble}</p>}
      <div>
        <textarea ref={box} data-testid={thread ? "thread-composer" : "composer"} rows={1} value={text} aria-label={label} placeholder={label}
          onChange={(e) => { setText(e.target.value); setTrouble(""); setChosen(0); }} onKeyDown={key} />
        <button type="submit" className="send" data-testid={thread ? "thread-send" : "composer-send"} aria-label="Send" disabled={busy || !text.trim()}>➤</button>
      </div>
    </form>
  );
}
