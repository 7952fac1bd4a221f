// Keeps the first page live: the server sends a part of the page when it has changed.
"use strict";
(() => {
  const bar = document.querySelector("[data-live]");
  const state = bar.querySelector("[data-state]");
  const pause = bar.querySelector("[data-pause]");
  const AGAIN = 5000; // milliseconds
  let source = null;

  function show(name, words) {
    bar.className = `live ${name}`;
    if (state.textContent !== words) state.textContent = words;
  }

  // What has the focus, or was scrolled to, stays so when its part is replaced.
  function replace(part, html) {
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    const address = focused && focused.getAttribute("href");
    const label = focused && focused.getAttribute("aria-label");
    const scrolled = Array.from(part.querySelectorAll(".scroll"), (box) => box.scrollLeft);
    part.innerHTML = html;
    part.querySelectorAll(".scroll").forEach((box, number) => { box.scrollLeft = scrolled[number] || 0; });
    if (focused) {
      const same = Array.from(part.querySelectorAll("a, [tabindex]")).find((one) =>
        address ? one.getAttribute("href") === address : one.getAttribute("aria-label") === label);
      if (same) same.focus({ preventScroll: true });
    }
  }

  function begin() {
    source = new EventSource(bar.dataset.live);
    source.addEventListener("parts", (event) => {
      for (const [name, html] of Object.entries(JSON.parse(event.data))) {
        const part = document.querySelector(`[data-part="${name}"]`);
        if (part) replace(part, html);
      }
      show("", "Live");
    });
    // Somebody has signed in or out, or may see something else now: the whole page is another.
    source.addEventListener("changed", () => { location.reload(); });
    source.onerror = () => {
      show("lost", "Not live: trying again");
      source.close();
      source = null;
      setTimeout(() => { if (!bar.classList.contains("paused") && !source) begin(); }, AGAIN);
    };
  }

  pause.hidden = false;
  pause.addEventListener("click", () => {
    if (source) {
      source.close();
      source = null;
      show("paused", "Paused");
      pause.textContent = "Go on";
    } else {
      show("", "Live");
      pause.textContent = "Pause";
      begin();
    }
  });
  // A page that nobody looks at needs no connection.
  document.addEventListener("visibilitychange", () => {
    if (bar.classList.contains("paused")) return;
    if (document.hidden && source) { source.close(); source = null; } else if (!document.hidden && !source) { begin(); }
  });
  begin();
})();
