"""The page's style: light and dark, from narrow windows to wide ones, and on paper."""

from typing import Final

STYLE: Final = """
:root {
  color-scheme: light dark;
  --page: #f4f6f8; --card: #ffffff; --ink: #17212e; --soft: #566273; --line: #dde3ea; --zebra: #f7f9fb;
  --good: #2b6cb0; --bad: #c2471f; --idle: #7c8796;
  --genre: #4a5fc1; --mood: #8a4bab; --occasion: #a8611a; --keyword: #1c7d72;
  --cached: #93a5e6; --shadow: 0 1px 2px #17212e14, 0 4px 16px #17212e0a;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --page: #10151c; --card: #19212b; --ink: #e7ecf2; --soft: #a0adbc; --line: #2d3744; --zebra: #1d2631;
    --good: #63a4e8; --bad: #f08a5f; --idle: #8d99a8;
    --genre: #8b9cf0; --mood: #c58be2; --occasion: #dd9d55; --keyword: #4fbfb0;
    --cached: #4d5fb5; --shadow: none;
  }
}
*, *::before, *::after { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 2rem clamp(1rem, 4vw, 2.5rem) 3rem; max-width: 78rem;
  background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere;
}
h1, h2, h3 { line-height: 1.25; margin: 0; text-wrap: balance; }
h1 { font-size: clamp(1.6rem, 1.2rem + 1.6vw, 2.2rem); letter-spacing: -.01em; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 1rem; }
h3 { font-size: 1rem; }
p { margin: .25rem 0; }
.eyebrow { color: var(--soft); font-size: .8125rem; letter-spacing: .08em; text-transform: uppercase; }
.lead { font-size: 1.0625rem; max-width: 60ch; margin-top: .75rem; }
.note, .none { color: var(--soft); font-size: .875rem; }
.heading { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem 1rem; }
.status {
  border: 1px solid currentColor; border-radius: 1rem; padding: .1rem .75rem;
  font-size: .875rem; font-weight: 600; color: var(--bad);
}
.status.completed { color: var(--good); }
.facts { display: flex; flex-wrap: wrap; gap: .5rem 2rem; margin: 1.25rem 0 0; font-size: .875rem; }
.facts dt { color: var(--soft); }
.facts dd { margin: 0; }
.tiles { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: .75rem; margin: 0; padding: 0; }
@media (min-width: 40rem) {
  .tiles { grid-template-columns: repeat(4, minmax(0, 1fr)); }
}
.tile, .card {
  background: var(--card); border: 1px solid var(--line); border-radius: .75rem; box-shadow: var(--shadow);
}
.tile { padding: .75rem 1rem; list-style: none; }
.tile strong { display: block; font-size: 1.5rem; line-height: 1.2; font-weight: 650; }
.tile.bad strong { color: var(--bad); }
.tile span { color: var(--soft); font-size: .875rem; }
.tile small { display: block; color: var(--soft); font-size: .8125rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 25rem), 1fr)); gap: 1rem; }
.card {
  margin: 0; padding: 1.1rem 1.25rem 1rem; min-width: 0; display: flex; flex-direction: column; gap: .5rem;
}
.card > :last-child { margin-top: auto; }
.chart svg { display: block; width: 100%; max-width: 36rem; height: auto; margin: 0 auto; }
.chart text {
  font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; fill: var(--soft);
}
.chart .horizontal text { fill: var(--ink); }
.chart line { stroke: var(--line); }
.chart .horizontal line, .chart .bottom line { display: none; }
.chart .color-0 { fill: var(--color-0); }
.chart .color-1 { fill: var(--color-1); }
.chart .color-2 { fill: var(--color-2); }
.chart .color-3 { fill: var(--color-3); }
.chart .mark:hover { opacity: .75; }
.plain { --color-0: var(--good); }
.failures { --color-0: var(--bad); }
.genre { --color-0: var(--genre); }
.mood { --color-0: var(--mood); }
.occasion { --color-0: var(--occasion); }
.keyword { --color-0: var(--keyword); }
.outcomes { --color-0: var(--good); --color-1: var(--bad); --color-2: var(--idle); }
.tokens {
  --color-0: var(--genre); --color-1: var(--cached); --color-2: var(--keyword); --color-3: var(--occasion);
}
.legend {
  display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: 0; padding: 0;
  font-size: .875rem; color: var(--soft);
}
.legend li { list-style: none; display: flex; align-items: center; gap: .45rem; }
.legend li::before { content: ""; width: .75rem; height: .75rem; border-radius: .2rem; background: var(--key); }
.legend .color-0 { --key: var(--color-0); }
.legend .color-1 { --key: var(--color-1); }
.legend .color-2 { --key: var(--color-2); }
.legend .color-3 { --key: var(--color-3); }
details { border-top: 1px solid var(--line); padding-top: .5rem; font-size: .875rem; }
.scroll { overflow-x: auto; }
summary { cursor: pointer; color: var(--soft); border-radius: .25rem; }
summary:focus-visible, .scroll:focus-visible { outline: 2px solid var(--good); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; margin-top: .5rem; }
th, td {
  text-align: left; vertical-align: top; padding: .4rem .6rem .4rem 0; border-bottom: 1px solid var(--line);
}
th:last-child, td:last-child { padding-right: 0; }
thead th { color: var(--soft); font-weight: 600; }
tbody th { font-weight: 400; }
.number { text-align: right; overflow-wrap: normal; }
.cards + .files { margin-top: 1rem; }
.files th { width: 46%; }
.folder { display: block; color: var(--soft); font-size: .8125rem; }
.name { font-weight: 600; }
.files details { margin-top: .75rem; border: 0; }
.reasons { margin: 0; padding: 0; list-style: none; }
footer { margin-top: 2.5rem; color: var(--soft); font-size: .8125rem; }
@media print {
  :root { color-scheme: light; --page: #fff; --shadow: none; }
  body {
    padding: 0; max-width: none; font-size: .875rem; print-color-adjust: exact; -webkit-print-color-adjust: exact;
  }
  .card, .tile, tr { break-inside: avoid; }
  .card { padding: .6rem .65rem; }
  .files { break-inside: auto; }
  h2, thead { break-after: avoid; }
  .cards { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: .6rem; }
  .tiles { grid-template-columns: repeat(4, minmax(0, 1fr)); }
  .tile strong { font-size: 1.25rem; }
  details:not([open]) { display: none; }
}
"""
