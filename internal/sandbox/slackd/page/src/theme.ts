// Light or dark: the system's choice, unless the person chose.
import { useSyncExternalStore } from "react";

const key = "spanbot-theme";
const system = matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set<() => void>();

const now = (): "light" | "dark" => (localStorage.getItem(key) as "light" | "dark" | null) ?? (system.matches ? "dark" : "light");

function tell() {
  document.documentElement.dataset.theme = now();
  listeners.forEach((f) => f());
}
system.addEventListener("change", tell);
tell();

export function toggleTheme() {
  const next = now() === "dark" ? "light" : "dark";
  if (next === (system.matches ? "dark" : "light")) localStorage.removeItem(key);
  else localStorage.setItem(key, next);
  tell();
}

export const useTheme = () => useSyncExternalStore((f) => (listeners.add(f), () => listeners.delete(f)), now);
