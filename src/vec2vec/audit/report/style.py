"""The style of the page: readable on a wide and a narrow screen, and on paper."""

from __future__ import annotations

STYLE = """
:root { --ink: #1d2330; --quiet: #5c6575; --line: #dfe3ea; --soft: #f6f7f9; --low: #00735a; --moderate: #946200;
  --high: #b84a00; --severe: #a1123a; --none: #5c6575; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink); font: 16px/1.55 system-ui, "DejaVu Sans", sans-serif;
  overflow-wrap: break-word; }
main { max-width: 60rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 0 0 .6rem; }
h3 { font-size: 1.02rem; margin: 1.6rem 0 .3rem; }
p { margin: .4rem 0 .8rem; max-width: 46rem; }
section { margin-top: 2.6rem; }
section > h2 { border-top: 1px solid var(--line); padding-top: 1.2rem; }
.kicker { color: var(--quiet); letter-spacing: .08em; text-transform: uppercase; font-size: .78rem; margin: 0 0 .3rem; }
.quiet { color: var(--quiet); font-size: .9rem; }
.card { display: flex; gap: 1.4rem; align-items: flex-start; border: 1px solid var(--line); border-left-width: 8px;
  border-radius: 8px; padding: 1.2rem 1.4rem; margin-top: 1.4rem; background: var(--soft); }
.card > h2, .card h2 { border: 0; padding: 0; }
.card > div { min-width: 0; flex: 1; }
.grade { font-size: 1.5rem; font-weight: 700; margin: 0; min-width: 8.2rem; }
.card.low { border-left-color: var(--low); } .card.low .grade { color: var(--low); }
.card.moderate { border-left-color: var(--moderate); } .card.moderate .grade { color: var(--moderate); }
.card.high { border-left-color: var(--high); } .card.high .grade { color: var(--high); }
.card.severe { border-left-color: var(--severe); } .card.severe .grade { color: var(--severe); }
.card.none { border-left-color: var(--none); } .card.none .grade { color: var(--none); }
.reasons { list-style: none; padding: 0; margin: .6rem 0; }
.reasons li { margin: .3rem 0; }
.level { display: inline-block; min-width: 5.6rem; text-align: center; font-size: .78rem; font-weight: 600; color: #fff;
  border-radius: 4px; padding: .05rem .5rem; margin-right: .4rem; background: var(--none); }
.level.low { background: var(--low); } .level.moderate { background: var(--moderate); }
.level.high { background: var(--high); } .level.severe { background: var(--severe); }
.notes { border: 1px solid var(--line); border-radius: 8px; padding: .9rem 1.3rem; margin-top: 1.2rem; }
.notes h2 { border: 0; padding: 0; font-size: 1rem; } .notes ul { margin: .2rem 0; padding-left: 1.1rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(12rem, 1fr)); gap: .9rem; }
.tile { border: 1px solid var(--line); border-radius: 8px; padding: .9rem 1.1rem; display: flex;
  flex-direction: column; }
.tile b { font-size: 1.9rem; line-height: 1.15; } .tile small { color: var(--quiet); }
.pair { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: .5rem; }
.pair > div { min-width: 0; }
.say { background: var(--soft); border-radius: 8px; padding: .9rem 1.2rem; max-width: none; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .87rem; margin: .5rem 0 1rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; color: var(--quiet); white-space: nowrap; }
td { white-space: nowrap; } td:first-child, td:last-child { white-space: normal; }
details { margin: .6rem 0 1rem; } summary { cursor: pointer; color: #005a93; }
pre { font-size: .78rem; background: var(--soft); padding: .8rem; border-radius: 6px; white-space: pre-wrap;
  overflow-wrap: anywhere; }
.example { display: grid; grid-template-columns: 6rem 1fr; gap: .25rem .8rem; border-left: 3px solid var(--line);
  padding: .2rem 0 .2rem .9rem; margin: .9rem 0; font-size: .92rem; }
.example dt { color: var(--quiet); } .example dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
mark { background: #ffe2a8; color: inherit; border-radius: 3px; padding: 0 .12em; }
@media (max-width: 40rem) {
  .pair { grid-template-columns: minmax(0, 1fr); }
  main { padding: 1.2rem .9rem 3rem; } h1 { font-size: 1.5rem; }
  .card { flex-direction: column; gap: .4rem; padding: 1rem; } .example { grid-template-columns: 1fr; gap: 0; }
  .example dt { margin-top: .3rem; }
}
@media print {
  body { font-size: 11pt; } main { max-width: none; padding: 0; } details { display: block; }
  .card, .notes, .tile, .example, table, .plotly-graph-div { break-inside: avoid; } h2, h3 { break-after: avoid; }
  mark, .level, .card { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
}
"""
