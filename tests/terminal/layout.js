// What is wrong with the page as it is laid out now: a list of sentences, empty when nothing is.
(() => {
  const wrong = [];
  const name = (node) => `${node.tagName.toLowerCase()}.${node.getAttribute("class") || ""} "${(node.textContent || "").trim().slice(0, 40)}"`;
  const inside = (inner, outer, slack) =>
    inner.left >= outer.left - slack && inner.right <= outer.right + slack &&
    inner.top >= outer.top - slack && inner.bottom <= outer.bottom + slack;

  if (document.documentElement.scrollWidth > innerWidth) wrong.push("the page scrolls sideways");
  for (const node of document.body.querySelectorAll("*")) {
    if (node.closest("svg") || getComputedStyle(node).display === "none") continue;
    if (node.classList.contains("scroll") && node.scrollWidth > node.clientWidth) wrong.push("a table scrolls sideways");
    if (node.closest(".scroll")) continue;
    const box = node.getBoundingClientRect();
    if (node.clientWidth && node.scrollWidth > node.clientWidth + 1) wrong.push(`cut off: ${name(node)}`);
    const parent = node.parentElement.getBoundingClientRect();
    if (box.width && (box.left < parent.left - 1 || box.right > parent.right + 1)) wrong.push(`sticks out: ${name(node)}`);
  }

  const smallest = matchMedia("print").matches ? 9.3 : 10.5;  // 7 points on paper
  const charts = [...document.querySelectorAll("svg")];
  if (charts.length < 1) wrong.push("no chart");
  for (const chart of charts) {
    const frame = chart.getBoundingClientRect();
    const title = chart.querySelector("title").textContent;
    if (frame.width < 200 || frame.height < 30) wrong.push(`${title}: only ${frame.width} × ${frame.height}`);
    const marks = [...chart.querySelectorAll("rect.mark")];
    if (!marks.length) wrong.push(`${title}: no marks`);
    for (const mark of marks) {
      const box = mark.getBoundingClientRect();
      if (!(box.width > 0 && box.height > 0)) wrong.push(`${title}: a mark of no size`);
      if (!inside(box, frame, 1)) wrong.push(`${title}: a mark outside`);
      const fill = getComputedStyle(mark).fill;
      if (fill === "rgb(0, 0, 0)" || fill === "none") wrong.push(`${title}: a mark without its colour`);
    }
    const words = [...chart.querySelectorAll("text")];
    for (const word of words) {
      const box = word.getBoundingClientRect();
      if (!inside(box, frame, 1)) wrong.push(`${title}: "${word.textContent}" is cut off`);
      if (parseFloat(getComputedStyle(word).fontSize) * (frame.width / chart.viewBox.baseVal.width) < smallest)
        wrong.push(`${title}: "${word.textContent}" is too small to read`);
      if (chart.classList.contains("vertical") && word.textContent.includes("…")) wrong.push(`${title}: "${word.textContent}" is cut short`);
      if (word.textContent === "NaN" || word.textContent === "undefined") wrong.push(`${title}: ${word.textContent}`);
    }
    words.forEach((one, index) => words.slice(index + 1).forEach((other) => {
      const [a, b] = [one.getBoundingClientRect(), other.getBoundingClientRect()];
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const along = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (across > 1 && along > 3) wrong.push(`${title}: "${one.textContent}" lies on "${other.textContent}"`);
    }));
  }

  // WCAG 2: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio; 4.5 for text.
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\d.]+/g).slice(0, 3).map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!colour.startsWith("rgba(0, 0, 0, 0")) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  for (const node of document.body.querySelectorAll("*")) {
    if (![...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim())) continue;
    if (["title", "desc"].includes(node.tagName.toLowerCase())) continue;
    const style = getComputedStyle(node);
    const [a, b] = [light(node.closest("svg") ? style.fill : style.color), light(ground(node))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) wrong.push(`contrast of only ${contrast.toFixed(2)}: ${name(node)}`);
  }
  return [...new Set(wrong)];
})();
