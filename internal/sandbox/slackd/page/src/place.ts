// Where the page is: "#/<user>/<channel or home>[/thread/<ts>]", so that two tabs
// can be two people and a reload stays where it was.
import { useSyncExternalStore } from "react";

export type Place = { user: string; where: string; thread: string; at: string };

export function parse(hash: string): Place {
  const [user = "me", where = "", ...rest] = hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  const p: Place = { user: user || "me", where, thread: "", at: "" };
  for (let i = 0; i + 1 < rest.length; i += 2) {
    if (rest[i] === "thread") p.thread = rest[i + 1];
    if (rest[i] === "at") p.at = rest[i + 1];
  }
  return p;
}

export function format(p: Partial<Place>): string {
  return "#/" + [p.user || "me", p.where || "", ...(p.thread ? ["thread", p.thread] : []), ...(p.at ? ["at", p.at] : [])].map(encodeURIComponent).join("/");
}

export function go(p: Partial<Place>) {
  location.hash = format({ ...parse(location.hash), at: "", ...p });
}

let last = "";
let place = parse("");
export function usePlace(): Place {
  return useSyncExternalStore(
    (f) => (addEventListener("hashchange", f), () => removeEventListener("hashchange", f)),
    () => {
      if (location.hash !== last) {
        last = location.hash;
        place = parse(last);
      }
      return place;
    },
  );
}
