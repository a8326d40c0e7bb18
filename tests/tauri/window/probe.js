// Put into the window before the page, by the test only: tells after each change what a person can see.
//
// It looks for roles and visible texts, hardly for the page's own names, and reports in order.
(() => {
  "use strict";
  const ANSWERED_WITHIN_MILLISECONDS = 1000;
  const { invoke } = window.__TAURI_INTERNALS__;
  let sent = Promise.resolve();
  let refused = 0;
  let number = 0;

  const shown = (element) => element.getClientRects().length > 0;
  const all = (selector) => [...document.querySelectorAll(selector)].filter(shown);
  const text = (element) => element.innerText.trim().replace(/\s+/g, " ");
  const place = (element) => {
    const box = element.getBoundingClientRect();
    return { x: box.x + box.width / 2, y: box.y + box.height / 2 };
  };
  const name = (element) => (element.labels?.[0] ? text(element.labels[0]) : text(element));

  function bar() {
    const [found] = all('[role="progressbar"]');
    if (!found) return null;
    const values = ["aria-valuenow", "aria-valuemax"].map((key) => Number(found.getAttribute(key)));
    return { now: values[0], max: values[1], filled: found.firstElementChild.getBoundingClientRect().width };
  }

  function look() {
    return {
      page: performance.timeOrigin,
      number: (number += 1),
      refused,
      heading: all("h2").map(text)[0] ?? "",
      notices: all('[role="alert"], .notice').map(text),
      said: text(document.querySelector('[role="status"]')),
      bar: bar(),
      counters: Object.fromEntries(all("dt").map((term) => [text(term), text(term.nextElementSibling)])),
      countdown: all('[role="timer"]').map(text)[0] ?? null,
      failures: all("summary").map(text),
      buttons: Object.fromEntries(all("button, summary").map((button) => [text(button), !button.disabled])),
      places: Object.fromEntries(all("button, input, summary, select").map((field) => [name(field), place(field)])),
      numbers: Object.fromEntries(all('input[type="number"]').map((field) => [name(field), field.value])),
      focus: document.activeElement === document.body ? "" : name(document.activeElement),
      fits: document.documentElement.scrollWidth <= innerWidth,
    };
  }

  /** Hands it to shell.py; once more where no answer comes, or every later report would wait for a lost one. */
  async function deliver(what) {
    for (let attempt = 0; attempt < 2; attempt++) {
      const late = new Promise((resolve) => setTimeout(resolve, ANSWERED_WITHIN_MILLISECONDS, true));
      // An event, since Tauri carries it either way: after one failed request it takes its slower way for good.
      const emitted = invoke("plugin:event|emit", { event: "told", payload: what });
      if (!(await Promise.race([emitted, late]))) return;
    }
  }

  function tell(what) {
    sent = sent.then(() => deliver(what)).catch(() => undefined);
  }

  const report = () => tell(look());

  window.lookForTheTest = report;

  /** Each further request of Tauri's own protocol fails, and is counted. */
  window.breakForTheTest = () => {
    window.fetch = () => {
      refused += 1;
      return Promise.reject(new TypeError("Load failed"));
    };
    report();
  };

  /** What axe-core finds on the screen as it is. */
  window.auditForTheTest = async () => {
    const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
    tell({ audit: violations.map(({ id, nodes }) => [id, ...nodes.map((node) => node.failureSummary + node.html)]) });
  };

  document.addEventListener("DOMContentLoaded", () => {
    const everything = { subtree: true, childList: true, characterData: true, attributes: true };
    new MutationObserver(report).observe(document.documentElement, everything);
    for (const event of ["focusin", "input", "toggle", "transitionend"]) document.addEventListener(event, report, true);
    window.addEventListener("resize", report);
    report();
  });
})();
