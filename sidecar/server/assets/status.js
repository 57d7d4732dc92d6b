"use strict";
// Renews the panels of /status by their ids. Without this script the page is whole and stands still.
(() => {
  const live = document.getElementById("live");
  const waiting = new Map();
  const FOCUSABLE = "summary, a, [tabindex]";

  function selecting(panel) {
    const selection = document.getSelection();
    return selection && !selection.isCollapsed && selection.containsNode(panel, true);
  }

  // What a reader has opened, scrolled or stands on stays so.
  function keep(old, fresh) {
    for (const details of old.querySelectorAll("details[open]")) {
      const same = fresh.querySelector(`#${CSS.escape(details.id)}`);
      if (same) same.open = true;
    }
    const boxes = fresh.querySelectorAll("[tabindex]");
    old.querySelectorAll("[tabindex]").forEach((box, place) => {
      if (boxes[place] && box.scrollLeft) queueMicrotask(() => (boxes[place].scrollLeft = box.dataset.left));
      if (box.scrollLeft) box.dataset.left = box.scrollLeft;
    });
  }

  function focused(old, fresh) {
    const active = document.activeElement;
    if (!old.contains(active)) return null;
    const owner = active.parentElement.id && fresh.querySelector(`#${CSS.escape(active.parentElement.id)}`);
    if (owner && active.matches("summary")) return owner.querySelector("summary");
    return fresh.querySelectorAll(FOCUSABLE)[[...old.querySelectorAll(FOCUSABLE)].indexOf(active)] || null;
  }

  function renew(id, html) {
    const old = document.getElementById(id);
    if (!old || selecting(old)) return false;
    const template = document.createElement("template");
    template.innerHTML = html;
    const fresh = template.content.firstElementChild;
    keep(old, fresh);
    const focus = focused(old, fresh);
    old.replaceWith(fresh);
    if (focus) focus.focus({ preventScroll: true });
    return true;
  }

  const source = new EventSource("/status/events");
  source.addEventListener("open", () => (live.textContent = "Live."));
  source.addEventListener("error", () => {
    live.textContent = source.readyState === EventSource.CLOSED ? "Not live: reload the page." : "Connecting again …";
  });
  source.addEventListener("panels", (event) => {
    for (const [id, html] of Object.entries(JSON.parse(event.data))) waiting.set(id, html);
    for (const [id, html] of waiting) if (renew(id, html)) waiting.delete(id);
  });
})();
