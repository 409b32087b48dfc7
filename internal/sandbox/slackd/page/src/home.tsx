// The App Home.
import { useEffect, useMemo } from "react";
import { Blocks } from "./blocks";
import { SurfaceContext, type Surface } from "./elements";
import { Avatar } from "./messages";
import { ask, useStore } from "./store";

export function HomeView({ back }: { back: () => void }) {
  const home = useStore((s) => s.home);
  const hello = useStore((s) => s.hello);
  const status = useStore((s) => s.status);
  useEffect(() => { if (status === "open") void ask("home", { tab: "home" }); }, [status]);
  const id = home?.id ?? "";
  const surface: Surface = useMemo(() => ({ act: (action) => ask("action", { view_id: id, action, values: {} }) }), [id]);
  const bot = hello?.users.find((u) => u.is_bot);
  return (
    <main className="pane" aria-label="App Home">
      <header className="pane-head">
        <button type="button" className="icon-button only-narrow" aria-label="Back to channels" onClick={back}>‹</button>
        <Avatar user={bot} size={26} /><h1>{hello?.app.name}</h1><span className="tab" aria-current="page">Home</span>
      </header>
      <div className="scroll home" data-testid="home-view" tabIndex={0}>
        {home
          ? <SurfaceContext.Provider value={surface}><Blocks blocks={home.blocks} /></SurfaceContext.Provider>
          : <p className="empty">Spanbot has not published anything here yet.</p>}
      </div>
    </main>
  );
}
