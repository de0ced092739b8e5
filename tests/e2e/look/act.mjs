// Opens a page of `wyoming-flux show` in a document without a browser, does what it is told, a line of
// JSON each, and prints what can be seen after each. There is no layout and no sound: the picture's place
// is made up here, and the player's clock is moved by hand.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const [modules, path, actions] = process.argv.slice(2);
const { Browser } = createRequire(`${modules}/`)("happy-dom");
const settings = { enableJavaScriptEvaluation: true, suppressInsecureJavaScriptEnvironmentWarning: true };
const page = new Browser({ settings }).newPage();
const window = page.mainFrame.window;
window.requestAnimationFrame = () => 0; // Only what an event draws is looked at.
page.content = readFileSync(path, "utf8");
const { document } = window;
const audio = document.querySelector("audio");
const chart = document.querySelector("svg[data-seconds]");
if (chart) chart.getBoundingClientRect = () => ({ left: 100, width: 570 });

function act({ key, on = "body", click, x = 0, time, ...more }) {
  const event = { bubbles: true, cancelable: true, ...more };
  if (key) {
    const pressed = new window.KeyboardEvent("keydown", { key, ...event });
    document.querySelector(on).dispatchEvent(pressed);
    return pressed.defaultPrevented;
  }
  if (click) document.querySelector(click).dispatchEvent(new window.MouseEvent("click", { clientX: x, ...event }));
  if (time !== undefined) {
    audio.currentTime = time;
    audio.dispatchEvent(new window.Event("timeupdate"));
  }
  return false;
}

for (const action of JSON.parse(actions)) {
  const taken = act(action);
  const head = chart?.querySelector(".head");
  const upright = head?.getAttribute("x1") === head?.getAttribute("x2");
  const seen = head?.style.visibility === "visible" && upright ? Number(head.getAttribute("x1")) : null;
  const now = [...document.querySelectorAll(".words .now")].map((word) => word.textContent);
  console.log(JSON.stringify({ playing: audio && !audio.paused, at: audio?.currentTime, head: seen, now, taken }));
}
process.exit(0);
