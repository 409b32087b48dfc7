// Blocks: what is only to be read is drawn by slack-blocks-to-jsx, what is to be
// used by elements.tsx.
import { memo, useContext, type ReactNode } from "react";
import { Message as Drawn } from "slack-blocks-to-jsx";
import { InteractiveElement, SurfaceContext, Input, initial, Unknown, words } from "./elements";
import type { Block } from "./protocol";
import { format, parse } from "./place";
import { useStore } from "./store";
import { useTheme } from "./theme";

const drawn = new Set(["section", "context", "divider", "header", "image", "rich_text", "markdown", "table", "video", "file"]);
const usable = new Set(["button", "overflow", "static_select", "radio_buttons", "checkboxes", "datepicker", "timepicker", "feedback_buttons"]);

export function Blocks({ blocks, errors }: { blocks: Block[]; errors?: Record<string, string> }) {
  const out: ReactNode[] = [];
  let run: Block[] = [];
  const flush = () => {
    if (run.length) out.push(<Readable key={"r" + run[0].block_id} blocks={run} />);
    run = [];
  };
  for (const b of blocks) {
    if (b.type === "section" && b.accessory && usable.has(b.accessory.type)) {
      flush();
      const { accessory, ...rest } = b;
      out.push(
        <div className="with-accessory" key={b.block_id}>
          <Readable blocks={[rest]} />
          <div><InteractiveElement block={b.block_id} e={accessory} /></div>
        </div>,
      );
    } else if (drawn.has(b.type)) {
      run.push(b);
    } else {
      flush();
      out.push(<Usable key={b.block_id} b={b} error={errors?.[b.block_id]} />);
    }
  }
  flush();
  return <>{out}</>;
}

function Usable({ b, error }: { b: Block; error?: string }) {
  switch (b.type) {
    case "actions":
    case "context_actions":
      return (
        <div className="actions" data-block={b.block_id}>
          {b.elements?.map((e) => <InteractiveElement key={e.action_id} block={b.block_id} e={e} />)}
        </div>
      );
    case "input":
      return <InputBlock b={b} error={error} />;
  }
  return <p><Unknown what={b.type} /></p>;
}

function InputBlock({ b, error }: { b: Block; error?: string }) {
  const surface = useContext(SurfaceContext);
  const e = b.element!;
  const id = "input-" + b.block_id;
  const field = surface.field?.(b.block_id, e) ?? initial(e);
  const described = [b.hint && id + "-hint", error && id + "-error"].filter(Boolean).join(" ") || undefined;
  const group = e.type === "radio_buttons" || e.type === "checkboxes";
  const label = <>{words(b.label)}{b.optional && <span className="optional"> (optional)</span>}</>;
  return (
    <div className={`input ${error ? "wrong" : ""}`} data-block={b.block_id}>
      {group ? <div className="label" id={id + "-label"}>{label}</div> : <label className="label" htmlFor={id}>{label}</label>}
      <Input block={b.block_id} e={e} field={field} id={id} describedBy={described} invalid={!!error} autoFocus={e.focus_on_load}
        change={(f) => {
          surface.change?.(b.block_id, e, f);
          if (b.dispatch_action && !("value" in f)) void surface.act({ ...f, block_id: b.block_id, action_id: e.action_id });
        }} />
      {error && <div className="field-error" id={id + "-error"} role="alert" data-testid={"modal-error-" + b.block_id}>{error}</div>}
      {b.hint && <div className="hint" id={id + "-hint"}>{words(b.hint)}</div>}
    </div>
  );
}

// Readable draws blocks that are only read. verbatim is taken out: the library
// would show such texts raw, and Slack does not.
const Readable = memo(function Readable({ blocks }: { blocks: Block[] }) {
  const theme = useTheme();
  const users = useStore((s) => s.hello?.users);
  const channels = useStore((s) => s.channels);
  return (
    <div id="slack_blocks_to_jsx" data-theme={theme} className="readable">
      <Drawn blocks={plain(blocks) as never} logo="" name="" withoutWrapper theme={theme} hooks={hooks}
        data={{ users: users?.map((u) => ({ id: u.id, name: u.real_name })), channels: channels.map((c) => ({ id: c.id, name: c.name })) }} />
    </div>
  );
}, (a, b) => JSON.stringify(a.blocks) === JSON.stringify(b.blocks));

// A channel leads there, as in Slack.
const hooks = {
  channel: (c: { id: string; name: string }) => <a href={format({ user: parse(location.hash).user, where: c.id })}>#{c.name}</a>,
};

function plain<T>(v: T): T {
  return JSON.parse(JSON.stringify(v, (k, x) => (k === "verbatim" ? undefined : x)));
}

// Plain is the text of a message without blocks.
export const Plain = ({ text }: { text: string }) => <Readable blocks={[{ type: "section", block_id: "text", text: { type: "mrkdwn", text } }]} />;
