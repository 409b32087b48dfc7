// The frame: sidebar, the pane beside it, a thread, modals.
import { useEffect } from "react";
import { HomeView } from "./home";
import { Avatar, ChannelView, Thread } from "./messages";
import { Modals } from "./modal";
import { format, go, usePlace } from "./place";
import { connect, useStore } from "./store";
import { toggleTheme, useTheme } from "./theme";

export function App() {
  const place = usePlace();
  const hello = useStore((s) => s.hello);
  const channels = useStore((s) => s.channels);
  const status = useStore((s) => s.status);
  const connected = useStore((s) => s.connected);

  useEffect(() => connect(place.user), [place.user]);
  // An address of an earlier start names people and channels that are gone.
  const known = place.where === "home" || channels.some((c) => c.id === place.where);
  useEffect(() => {
    if (!hello) return;
    const user = hello.users.some((u) => u.id === place.user && !u.is_bot) ? place.user : hello.me;
    const narrow = matchMedia("(max-width: 720px)").matches;
    if (user !== place.user || (place.where && !known) || (!place.where && !narrow)) {
      const where = known ? place.where : narrow ? "" : channels[0]?.id ?? "";
      history.replaceState(null, "", format({ user, where, thread: known ? place.thread : "", at: known ? place.at : "" }));
      dispatchEvent(new HashChangeEvent("hashchange"));
    }
  }, [hello, place, known, channels]);

  const unread = channels.reduce((n, c) => n + c.unread, 0);
  useEffect(() => { document.title = (unread ? `(${unread}) ` : "") + (hello?.team.name ?? "Local workspace"); }, [unread, hello]);

  if (!hello) return <p className="starting">{status === "lost" ? "Spanbot does not answer. Waiting for it…" : "Opening the workspace…"}</p>;
  return (
    <div onClick={follow} className={`frame ${place.where ? "at-place" : "at-list"} ${place.thread ? "with-thread" : ""}`}>
      <div className="banners" role="status">
        {status === "lost" && <p className="banner">The connection to Spanbot is lost. Trying again…</p>}
        {status === "open" && !connected && <p className="banner">Spanbot is not connected to this workspace: buttons get no answer right now.</p>}
      </div>
      <Sidebar where={place.where} />
      {place.where === "home" ? <HomeView back={() => go({ where: "", thread: "" })} />
        : place.where && <ChannelView key={place.where} id={place.where} at={place.at} back={() => go({ where: "", thread: "" })} />}
      {place.thread && known && place.where !== "home" && <Thread key={place.thread} channel={place.where} ts={place.thread} />}
      <Modals />
    </div>
  );
}

// follow opens a link to a message of this workspace here, as Slack does.
async function follow(e: React.MouseEvent) {
  const a = (e.target as Element).closest?.("a");
  if (!a?.href.startsWith(location.origin + "/archives/") || e.metaKey || e.ctrlKey || e.shiftKey) return;
  e.preventDefault();
  const [channel, message] = new URL(a.href).pathname.split("/").slice(2);
  const at = message ? message.slice(1, -6) + "." + message.slice(-6) : "";
  go({ where: channel, thread: new URL(a.href).searchParams.get("thread_ts") ?? "", at });
}

function Sidebar({ where }: { where: string }) {
  const hello = useStore((s) => s.hello)!;
  const channels = useStore((s) => s.channels);
  const theme = useTheme();
  const bot = hello.users.find((u) => u.is_bot);
  return (
    <nav className="sidebar" aria-label="Workspace">
      <header><h1>{hello.team.name}</h1>
        <button type="button" className="icon-button" data-testid="theme-switch" aria-label={theme === "dark" ? "Light" : "Dark"} title={theme === "dark" ? "Light" : "Dark"} onClick={toggleTheme}>{theme === "dark" ? "☀" : "☾"}</button>
      </header>
      <h2>Channels</h2>
      <ul>
        {channels.map((c) => (
          <li key={c.id}>
            <a href={format({ user: hello.me, where: c.id })} data-testid={"channel-" + c.name} aria-current={c.id === where ? "page" : undefined} className={c.unread && c.id !== where ? "unread" : ""}>
              <span># {c.name}</span>{c.unread > 0 && c.id !== where && <b className="badge" aria-label={c.unread + " unread"}>{c.unread}</b>}
            </a>
          </li>
        ))}
      </ul>
      <h2>Apps</h2>
      <ul>
        <li><a href={format({ user: hello.me, where: "home" })} data-testid="home" aria-current={where === "home" ? "page" : undefined}><span><Avatar user={bot} size={20} />{hello.app.name}</span></a></li>
      </ul>
      <h2 id="who">You are</h2>
      <ul data-testid="user-switch" aria-labelledby="who">
        {hello.users.filter((u) => !u.is_bot).map((u) => (
          <li key={u.id}>
            <a href={format({ user: u.id, where })} data-testid={"user-" + u.id} aria-current={u.id === hello.me ? "true" : undefined}><span><Avatar user={u} size={20} />{u.real_name}</span></a>
          </li>
        ))}
      </ul>
      <p className="tip">Open a second tab as somebody else: two people can judge one card.</p>
      <p className="notice">{hello.notice} <a href="/phoenix/" target="_blank" rel="noopener">Stand-in Phoenix</a></p>
    </nav>
  );
}
