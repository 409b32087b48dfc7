// Modals: the topmost of the stack, with what was typed in each kept while it is
// covered or redrawn.
import { useEffect, useMemo, useRef, useState } from "react";
import { Blocks } from "./blocks";
import { Dialog, initial, SurfaceContext, words, type Surface } from "./elements";
import type { Element, Field, Values, View } from "./protocol";
import { ask, useStore } from "./store";

export function Modals() {
  const stack = useStore((s) => s.stack);
  const typed = useRef<Record<string, Values>>({});
  useEffect(() => {
    for (const id of Object.keys(typed.current)) if (!stack.some((v) => v.id === id)) delete typed.current[id];
  }, [stack]);
  const top = stack[stack.length - 1];
  if (!top) return null;
  return <Modal key={top.id} view={top} depth={stack.length} typed={(typed.current[top.id] ??= {})} />;
}

// valuesOf is what a form holds: what was typed, else what the app put there.
function valuesOf(view: View, typed: Values): Values {
  const out: Values = {};
  for (const b of view.blocks) {
    for (const e of [b.element, b.accessory, ...(b.elements ?? [])]) {
      if (!e?.action_id || e.type === "button" || e.type === "overflow" || e.type === "image" || e.type === "feedback_buttons") continue;
      (out[b.block_id] ??= {})[e.action_id] = typed[b.block_id]?.[e.action_id] ?? initial(e);
    }
  }
  return out;
}

function Modal({ view, depth, typed }: { view: View; depth: number; typed: Values }) {
  const [, redraw] = useState(0);
  const [busy, setBusy] = useState(false);
  const [errors, setErrors] = useState<Record<string, string>>({});
  const [trouble, setTrouble] = useState("");
  const form = useRef<HTMLFormElement>(null);

  const surface: Surface = useMemo(() => ({
    act: (action) => ask("action", { view_id: view.id, action, values: valuesOf(view, typed) }),
    field: (block: string, e: Element) => typed[block]?.[e.action_id!],
    change: (block: string, e: Element, f: Field) => {
      (typed[block] ??= {})[e.action_id!] = f;
      setErrors(({ [block]: _, ...rest }) => rest);
      redraw((n) => n + 1);
    },
  }), [view, typed]);

  const submit = async () => {
    if (busy || !view.submit) return;
    setBusy(true);
    setTrouble("");
    const r = await ask("submit", { view_id: view.id, values: valuesOf(view, typed) });
    setBusy(false);
    if (r.errors) setErrors(r.errors);
    else setErrors({});
    if (!r.ok && !r.errors) setTrouble(r.text ?? r.error ?? "");
  };
  // The first field that is wrong is where to go on.
  useEffect(() => {
    const first = form.current?.querySelector<HTMLElement>(".wrong input, .wrong textarea, .wrong select");
    first?.focus();
  }, [errors]);
  const close = (all: boolean) => void ask("close", { view_id: view.id, all });

  return (
    <Dialog className="modal" label={words(view.title)} testid="modal" close={() => close(false)}>
      <form ref={form} noValidate onSubmit={(ev) => { ev.preventDefault(); void submit(); }}
        onKeyDown={(ev) => { if (ev.key === "Enter" && (ev.metaKey || ev.ctrlKey)) { ev.preventDefault(); void submit(); } }}>
        <header>
          {depth > 1 && <button type="button" className="icon-button" aria-label="Back" onClick={() => close(false)}>←</button>}
          <h2>{words(view.title)}</h2>
          <button type="button" className="icon-button" aria-label="Close" data-testid="modal-close" onClick={() => close(true)}>✕</button>
        </header>
        <div className="body">
          <SurfaceContext.Provider value={surface}><Blocks blocks={view.blocks} errors={errors} /></SurfaceContext.Provider>
        </div>
        <footer>
          {trouble && <span className="trouble" role="alert">⚠ {trouble}</span>}
          <button type="button" className="button" onClick={() => close(false)}>{words(view.close) || (view.submit ? "Cancel" : "Close")}</button>
          {view.submit && (
            <button type="submit" className="button primary" data-testid="modal-submit" disabled={busy} aria-busy={busy}>
              {busy && <span className="spinner" aria-hidden />}{words(view.submit)}
            </button>
          )}
        </footer>
      </form>
    </Dialog>
  );
}
