import { render } from "preact";
import "./style/base.css";
import "./style/layout.css";
import "./style/parts.css";
import "./style/cards.css";
import "./style/live.css";
import { App } from "./app";
import { watch } from "./state/tap";

render(<App />, document.getElementById("app")!);
void watch();
