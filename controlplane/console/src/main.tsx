/** The page begins. */

import { render } from "preact";
import { App } from "./app";
import "uplot/dist/uPlot.min.css";
import "./styles/base.css";
import "./styles/parts.css";
import "./styles/watch.css";
import "./styles/editor.css";
import "./styles/pages.css";

const root = document.getElementById("app");
if (root !== null) render(<App />, root);
