// What the page and the server say to each other. Wire objects are Slack's own;
// only what the page reads of them is typed.

export type Text = { type: "plain_text" | "mrkdwn"; text: string; emoji?: boolean; verbatim?: boolean };
export type Option = { text: Text; value: string; description?: Text; url?: string };
export type Confirm = { title: Text; text: Text; confirm: Text; deny: Text; style?: "danger" | "primary" };

export type Element = {
  type: string;
  action_id?: string;
  text?: Text;
  value?: string;
  url?: string;
  style?: "primary" | "danger";
  accessibility_label?: string;
  confirm?: Confirm;
  placeholder?: Text;
  options?: Option[];
  option_groups?: { label: Text; options: Option[] }[];
  initial_option?: Option;
  initial_options?: Option[];
  initial_value?: string;
  initial_date?: string;
  initial_time?: string;
  multiline?: boolean;
  max_length?: number;
  min_length?: number;
  is_decimal_allowed?: boolean;
  min_value?: string;
  max_value?: string;
  focus_on_load?: boolean;
  positive_button?: { text: Text; value: string };
  negative_button?: { text: Text; value: string };
};

export type Block = {
  type: string;
  block_id: string;
  text?: Text;
  elements?: Element[];
  element?: Element;
  accessory?: Element;
  label?: Text;
  hint?: Text;
  optional?: boolean;
  dispatch_action?: boolean;
};

export type Message = {
  type: string;
  subtype?: string;
  ts: string;
  thread_ts?: string;
  user: string;
  bot_id?: string;
  text: string;
  blocks?: Block[];
  edited?: { user: string; ts: string };
  reply_count?: number;
  reply_users?: string[];
  latest_reply?: string;
  is_ephemeral?: boolean;
};

// Field is one entry of view.state.values: what was chosen or typed.
export type Field = { type: string; value?: string | null; selected_option?: Option | null; selected_options?: Option[]; selected_date?: string | null; selected_time?: string | null };
export type Values = Record<string, Record<string, Field>>;

export type View = {
  id: string;
  type: "modal" | "home";
  title?: Text | null;
  submit?: Text | null;
  close?: Text | null;
  blocks: Block[];
  state: { values: Values };
  hash: string;
};

export type User = { id: string; name: string; real_name: string; color: string; is_bot: boolean };
export type Channel = { id: string; name: string; topic: string; is_member: boolean; unread: number; last_read: string; num_members: number };
export type Command = { command: string; description: string; usage_hint: string };

export type Hello = {
  t: "hello";
  me: string;
  team: { id: string; name: string; domain: string };
  app: { id: string; name: string; bot_user: string; bot_id: string; connected: boolean };
  users: User[];
  channels: Channel[];
  commands: Command[];
  notice: string;
};

export type Frame =
  | Hello
  | { t: "channel"; channel: Channel }
  | { t: "message"; channel: string; message: Message }
  | { t: "deleted"; channel: string; ts: string }
  | { t: "ephemeral"; channel: string; message: Message }
  | { t: "ephemeral_deleted"; channel: string; ts: string }
  | { t: "views"; stack: View[] }
  | { t: "home"; view: View | null }
  | { t: "app"; connected: boolean }
  | ({ t: "result"; id: number } & Result);

export type Result = { ok: boolean; error?: string; text?: string; errors?: Record<string, string>; messages?: Message[]; has_more?: boolean };
