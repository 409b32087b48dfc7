// Interactive elements. They are drawn here and not by slack-blocks-to-jsx: its
// own keep their state to themselves, share ids, and fire before a confirmation.
import { createContext, useContext, useEffect, useId, useRef, useState, type ReactNode } from "react";
import { emojify } from "node-emoji";
import type { Confirm, Element, Field, Option, Result, Text } from "./protocol";

// Surface is what the elements of a message, a modal or an App Home act on.
export type Surface = {
  act: (action: Record<string, unknown>) => Promise<Result>;
  field?: (block: string, element: Element) => Field | undefined;
  change?: (block: string, element: Element, field: Field) => void;
};

export const SurfaceContext = createContext<Surface>({ act: async () => ({ ok: true }) });

export const words = (t?: Text | null) => (t ? (t.type === "plain_text" && t.emoji === false ? t.text : emojify(t.text)) : "");

const hook = (block: string, e: Element) => ({ "data-block-id": block, "data-action-id": e.action_id });

// useAct sends an action and says how it went.
function useAct(block: string, e: Element) {
  const { act } = useContext(SurfaceContext);
  const [busy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState("");
  const alive = useRef(true);
  useEffect(() => { alive.current = true; return () => { alive.current = false; }; }, []);
  const send = async (more: Record<string, unknown>) => {
    setBusy(true);
    setTrouble("");
    const r = await act({ type: e.type, block_id: block, action_id: e.action_id, ...more });
    if (!alive.current) return;
    setBusy(false);
    if (!r.ok) setTrouble(r.text ?? r.error ?? "It did not work.");
  };
  return { busy, trouble, send };
}

const Trouble = ({ text }: { text: string }) => (text ? <span className="trouble" role="alert">⚠ {text}</span> : null);

export function InteractiveElement({ block, e }: { block: string; e: Element }): ReactNode {
  switch (e.type) {
    case "button":
      return <Button block={block} e={e} />;
    case "feedback_buttons":
      return <Feedback block={block} e={e} />;
    case "overflow":
      return <Overflow block={block} e={e} />;
    case "static_select":
    case "radio_buttons":
    case "checkboxes":
    case "plain_text_input":
    case "number_input":
    case "email_text_input":
    case "url_text_input":
    case "datepicker":
    case "timepicker":
      return <Acting block={block} e={e} />;
  }
  return <Unknown what={e.type} />;
}

// Unknown says that something is there which is not drawn, rather than hide it.
export const Unknown = ({ what }: { what: string }) => <span className="unknown">“{what}” is not drawn here</span>;

function Button({ block, e }: { block: string; e: Element }) {
  const { busy, trouble, send } = useAct(block, e);
  const [asking, setAsking] = useState(false);
  const press = () => {
    if (e.url) window.open(e.url, "_blank", "noopener");
    void send({ value: e.value });
  };
  return (
    <>
      <button type="button" className={`button ${e.style ?? ""}`} {...hook(block, e)} data-value={e.value} disabled={busy} aria-busy={busy}
        aria-label={e.accessibility_label} title={e.accessibility_label}
        onClick={() => (e.confirm ? setAsking(true) : press())}>
        {words(e.text)}
      </button>
      <Trouble text={trouble} />
      {asking && <Sure confirm={e.confirm!} done={(yes) => { setAsking(false); if (yes) press(); }} />}
    </>
  );
}

function Feedback({ block, e }: { block: string; e: Element }) {
  const { busy, trouble, send } = useAct(block, e);
  const side = (b: { text: Text; value: string } | undefined, sign: string) =>
    b && <button type="button" className="icon-button" {...hook(block, e)} data-value={b.value} disabled={busy} aria-label={words(b.text)} title={words(b.text)}
      onClick={() => send({ value: b.value })}>{sign}</button>;
  return <>{side(e.positive_button, "👍")}{side(e.negative_button, "👎")}<Trouble text={trouble} /></>;
}

function Overflow({ block, e }: { block: string; e: Element }) {
  const { busy, trouble, send } = useAct(block, e);
  const [open, setOpen] = useState(false);
  const [asking, setAsking] = useState<Option | null>(null);
  const box = useRef<HTMLSpanElement>(null);
  useEffect(() => {
    if (!open) return;
    const away = (ev: Event) => {
      if (ev instanceof KeyboardEvent ? ev.key === "Escape" : !box.current?.contains(ev.target as Node)) {
        setOpen(false);
        if (ev instanceof KeyboardEvent) ev.stopPropagation();
      }
    };
    document.addEventListener("pointerdown", away);
    document.addEventListener("keydown", away, true);
    box.current?.querySelector<HTMLElement>("[role=menuitem]")?.focus();
    return () => {
      document.removeEventListener("pointerdown", away);
      document.removeEventListener("keydown", away, true);
    };
  }, [open]);
  const choose = (o: Option) => {
    setOpen(false);
    if (o.url) window.open(o.url, "_blank", "noopener");
    void send({ selected_option: o });
  };
  const arrows = (ev: React.KeyboardEvent) => {
    const step = ev.key === "ArrowDown" ? 1 : ev.key === "ArrowUp" ? -1 : 0;
    if (!step) return;
    ev.preventDefault();
    const items = [...box.current!.querySelectorAll<HTMLElement>("[role=menuitem]")];
    items[(items.indexOf(document.activeElement as HTMLElement) + step + items.length) % items.length].focus();
  };
  return (
    <span className="overflow" ref={box}>
      <button type="button" className="button square" {...hook(block, e)} aria-haspopup="menu" aria-expanded={open} aria-label="More actions" disabled={busy}
        onClick={() => setOpen(!open)}>⋯</button>
      {open && (
        <span className="menu" role="menu" onKeyDown={arrows}>
          {e.options?.map((o) => (
            <button type="button" role="menuitem" key={o.value} data-value={o.value} data-block-id={block}
              onClick={() => (e.confirm ? (setOpen(false), setAsking(o)) : choose(o))}>{words(o.text)}</button>
          ))}
        </span>
      )}
      <Trouble text={trouble} />
      {asking && <Sure confirm={e.confirm!} done={(yes) => { const o = asking; setAsking(null); if (yes) choose(o); }} />}
    </span>
  );
}

// Sure asks before something is done.
function Sure({ confirm, done }: { confirm: Confirm; done: (yes: boolean) => void }) {
  return (
    <Dialog className="sure" label={words(confirm.title)} close={() => done(false)}>
      <h2>{words(confirm.title)}</h2>
      <p>{words(confirm.text)}</p>
      <footer>
        <button type="button" className="button" onClick={() => done(false)}>{words(confirm.deny)}</button>
        <button type="button" className={`button ${confirm.style === "danger" ? "danger" : "primary"}`} onClick={() => done(true)}>{words(confirm.confirm)}</button>
      </footer>
    </Dialog>
  );
}

// Dialog is a window over the page: the browser keeps the focus in it.
export function Dialog({ children, close, label, className, testid }: { children: ReactNode; close: () => void; label: string; className: string; testid?: string }) {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    const d = ref.current!;
    if (!d.open) d.showModal();
    // The first field is where people start; without one, nothing is chosen for them.
    (d.querySelector<HTMLElement>(".body :is(input, textarea, select)") ?? d.querySelector<HTMLElement>(".primary, footer button"))?.focus();
    return () => before?.focus?.();
  }, []);
  return (
    <dialog ref={ref} className={className} aria-label={label} data-testid={testid}
      onCancel={(ev) => { ev.preventDefault(); if (ev.target === ref.current) close(); }}>
      {children}
    </dialog>
  );
}

// Acting is an input that acts when it changes: outside of an input block, or in
// one that dispatches.
function Acting({ block, e }: { block: string; e: Element }) {
  const { trouble, send } = useAct(block, e);
  const surface = useContext(SurfaceContext);
  const [own, setOwn] = useState<Field>(() => initial(e));
  const field = surface.field?.(block, e) ?? own;
  return (
    <span className="acting">
      <Input block={block} e={e} field={field} change={(f) => {
        setOwn(f);
        surface.change?.(block, e, f);
        if (!("value" in f)) void send(f);
      }} />
      <Trouble text={trouble} />
    </span>
  );
}

// initial is what an element holds before anybody touched it.
export function initial(e: Element): Field {
  switch (e.type) {
    case "static_select":
    case "radio_buttons":
      return { type: e.type, selected_option: e.initial_option ?? null };
    case "checkboxes":
      return { type: e.type, selected_options: e.initial_options ?? [] };
    case "datepicker":
      return { type: e.type, selected_date: e.initial_date ?? null };
    case "timepicker":
      return { type: e.type, selected_time: e.initial_time ?? null };
  }
  return { type: e.type, value: e.initial_value ?? null };
}

type InputProps = { block: string; e: Element; field: Field; change: (f: Field) => void; id?: string; describedBy?: string; invalid?: boolean; autoFocus?: boolean };

// Input is one field of a form.
export function Input({ block, e, field, change, id, describedBy, invalid, autoFocus }: InputProps): ReactNode {
  const name = useId();
  const common = { ...hook(block, e), id, "aria-describedby": describedBy, "aria-invalid": invalid || undefined, autoFocus };
  const hint = words(e.placeholder);
  switch (e.type) {
    case "plain_text_input":
      return e.multiline
        ? <textarea {...common} rows={4} maxLength={e.max_length} placeholder={hint} value={field.value ?? ""} onChange={(ev) => change({ ...field, value: ev.target.value })} />
        : <input {...common} type="text" maxLength={e.max_length} placeholder={hint} value={field.value ?? ""} onChange={(ev) => change({ ...field, value: ev.target.value })} />;
    case "number_input":
      return <input {...common} type="text" inputMode={e.is_decimal_allowed ? "decimal" : "numeric"} placeholder={hint} value={field.value ?? ""} onChange={(ev) => change({ ...field, value: ev.target.value })} />;
    case "email_text_input":
    case "url_text_input":
      return <input {...common} type={e.type === "email_text_input" ? "email" : "url"} placeholder={hint} value={field.value ?? ""} onChange={(ev) => change({ ...field, value: ev.target.value })} />;
    case "datepicker":
      return <input {...common} type="date" value={field.selected_date ?? ""} onChange={(ev) => change({ ...field, selected_date: ev.target.value || null })} />;
    case "timepicker":
      return <input {...common} type="time" value={field.selected_time ?? ""} onChange={(ev) => change({ ...field, selected_time: ev.target.value || null })} />;
    case "static_select": {
      const all = [...(e.options ?? []), ...(e.option_groups ?? []).flatMap((g) => g.options)];
      const option = (o: Option) => <option key={o.value} value={o.value}>{words(o.text)}</option>;
      return (
        <select {...common} value={field.selected_option?.value ?? ""} onChange={(ev) => change({ ...field, selected_option: all.find((o) => o.value === ev.target.value) ?? null })}>
          <option value="">{hint || "Choose one"}</option>
          {e.options?.map(option)}
          {e.option_groups?.map((g) => <optgroup key={words(g.label)} label={words(g.label)}>{g.options.map(option)}</optgroup>)}
        </select>
      );
    }
    case "radio_buttons":
      return (
        <span role="radiogroup" className="choices" id={id} aria-describedby={describedBy} aria-invalid={invalid || undefined} data-block-id={block}>
          {e.options?.map((o) => (
            <label key={o.value}>
              <input type="radio" name={name} {...hook(block, e)} data-value={o.value} checked={field.selected_option?.value === o.value}
                onChange={() => change({ ...field, selected_option: o })} />
              <span>{words(o.text)}{o.description && <small>{words(o.description)}</small>}</span>
            </label>
          ))}
        </span>
      );
    case "checkboxes": {
      const chosen = field.selected_options ?? [];
      return (
        <span role="group" className="choices" id={id} aria-describedby={describedBy} data-block-id={block}>
          {e.options?.map((o) => {
            const on = chosen.some((c) => c.value === o.value);
            return (
              <label key={o.value}>
                <input type="checkbox" {...hook(block, e)} data-value={o.value} checked={on}
                  onChange={() => change({ ...field, selected_options: on ? chosen.filter((c) => c.value !== o.value) : [...chosen, o] })} />
                <span>{words(o.text)}{o.description && <small>{words(o.description)}</small>}</span>
              </label>
            );
          })}
        </span>
      );
    }
  }
  return <Unknown what={e.type} />;
}
