// Adds to pages that work without it: waits, counts down, copies, guards. No text of its own: data- attributes speak.
"use strict";

const FIRST_WAIT = 1000, LONGEST_WAIT = 8000, AWAY_LONGEST = 15000, GIVE_UP = 20000, GUARD = 700;

const find = (name) => document.querySelector(`[data-${name}]`);
const each = (name, act) => document.querySelectorAll(`[data-${name}]`).forEach(act);

// ---- wait for a decision: soon at first, then more calmly; at once when the page is seen again
const page = find("poll");
if (page) poll(page.dataset.poll);

function poll(url) {
  const line = find("status");
  let wait = FIRST_WAIT, timer = 0, asking = false;

  const say = (away) => {
    if (!line || line.classList.contains("away") === away) return;
    line.classList.toggle("away", away);
    line.querySelector("[data-words]").textContent = away ? line.dataset.away : line.dataset.back;
  };
  const later = (longest) => {
    timer = setTimeout(ask, wait);
    wait = Math.min(wait * 1.25, longest);
  };
  async function ask() {
    if (asking) return;
    clearTimeout(timer);
    asking = true;
    try {
      const answer = await fetch(url, { cache: "no-store", signal: AbortSignal.timeout(GIVE_UP) });
      if (answer.status >= 500 || answer.status === 429) throw new Error(String(answer.status));
      const body = answer.ok ? await answer.json() : null;
      if (body === null || body.status !== "pending") return location.reload(); // the page itself says what became of it
      say(false);
      later(LONGEST_WAIT);
    } catch {
      say(true);
      later(AWAY_LONGEST);
    } finally {
      asking = false;
    }
  }
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") { wait = FIRST_WAIT; ask(); }
  });
  later(LONGEST_WAIT);
}

// ---- go on to the client; replace() leaves no page behind that would send the person on again
const handOver = find("hand-over");
if (handOver) {
  const leaving = setTimeout(() => location.replace(handOver.dataset.handOver), Number(handOver.dataset.wait) || 600);
  document.addEventListener("submit", () => clearTimeout(leaving)); // “I did not start this” comes first
}

// ---- time left, by the clock and not by counting ticks: a sleeping tab misses those
each("countdown", (shown) => {
  const end = Date.now() + Number(shown.dataset.countdown) * 1000;
  const tick = () => {
    const left = Math.max(0, Math.round((end - Date.now()) / 1000));
    if (!left && shown.dataset.over) return void (shown.parentNode.textContent = shown.dataset.over);
    const minutes = Math.floor(left / 60), parts = [];
    if (minutes) parts.push(shown.dataset.minutes.replace("%d", minutes));
    parts.push(shown.dataset.seconds.replace("%d", left % 60));
    shown.textContent = parts.join(" ");
  };
  tick();
  setInterval(tick, 1000);
});

// ---- copy
async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = document.createElement("textarea"); // plain http has no clipboard, but it can copy what is selected
  field.value = text;
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

each("copy", (button) => {
  const words = button.textContent;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await copy(button.dataset.copy);
    button.focus();
    button.textContent = button.dataset.done;
    setTimeout(() => { button.textContent = words; }, 2000);
  });
});

// ---- a click counts only after the page could be seen: against pages that put this one under a double click
const guarded = document.querySelectorAll("[data-guard]");
if (guarded.length) {
  let timer = 0;
  const set = (closed) => guarded.forEach((button) => { button.disabled = closed; });
  const look = () => {
    clearTimeout(timer);
    set(true);
    if (document.visibilityState === "visible" && document.hasFocus()) timer = setTimeout(set, GUARD, false);
  };
  ["focus", "blur", "resize", "pageshow"].forEach((event) => window.addEventListener(event, look));
  document.addEventListener("visibilitychange", look);
  look();
}

// ---- of these boxes one stays ticked
each("at-least-one", (group) => {
  group.addEventListener("change", (event) => {
    if (!group.querySelector(":checked")) event.target.checked = true;
  });
});

// ---- the checklist: marks tick as the app comes further; after the first call the page has other things to show
const list = find("progress");
if (list) follow(list.dataset.progress, find("said"));

function follow(url, said) {
  let wait = 2000, timer = 0;
  const later = () => {
    timer = setTimeout(ask, wait);
    wait = Math.min(wait * 1.1, 15000);
  };
  const tick = (item) => {
    const state = item.querySelector("[data-state]");
    item.classList.add("done");
    state.textContent = state.dataset.done;
    said.textContent = item.textContent;
    wait = 2000; // something moves
  };
  async function ask() {
    clearTimeout(timer);
    if (document.visibilityState !== "visible") return;
    try {
      const answer = await fetch(url, { cache: "no-store", signal: AbortSignal.timeout(GIVE_UP) });
      if (answer.status === 401 || answer.status === 403) return; // signed out meanwhile
      if (answer.ok) {
        const marks = await answer.json();
        const left = [...list.querySelectorAll("[data-mark]:not(.done)")];
        left.filter((item) => marks[item.dataset.mark]).forEach(tick);
        if (!left.length) return;
        if (marks.called) return void setTimeout(() => location.reload(), 1500);
      }
    } catch { /* the server is away: asked again */ }
    later();
  }
  document.addEventListener("visibilitychange", () => { wait = 2000; ask(); });
  later();
}

// ---- a form is sent once
each("once", (form) => {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
});
window.addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload(); // from the back-forward cache: what it shows may be long decided
});
