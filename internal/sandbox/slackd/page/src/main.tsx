import { createRoot } from "react-dom/client";
import { App } from "./app";
import "slack-blocks-to-jsx/dist/style.css";
import "./style.css";

createRoot(document.getElementById("root")!).render(<App />);
