"""How the page looks, light or dark, wide or narrow."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root {
  color-scheme: light dark;
  --ground: #fff; --ink: #1b1f24; --soft: #59636e; --rule: #d1d9e0; --cell: #f6f8fa;
  --better: #d5f0dc; --worse: #fbdcd9;
  --c0: #0969da; --c1: #bc4c00; --c2: #1a7f37; --c3: #8250df;
  --c4: #bf3989; --c5: #0e7c86; --c6: #9a6700; --c7: #57606a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #0d1117; --ink: #e6edf3; --soft: #9198a1; --rule: #3d444d; --cell: #151b23;
    --better: #12361f; --worse: #4a1c1a;
    --c0: #58a6ff; --c1: #f0883e; --c2: #3fb950; --c3: #a371f7;
    --c4: #f778ba; --c5: #39c5cf; --c6: #d29922; --c7: #9198a1;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; font-variant-numeric: tabular-nums; }
main { max-width: 1100px; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; }
h3 { font-size: 1rem; margin: 1.75rem 0 0.25rem; }
p { color: var(--soft); margin: 0.25rem 0 0.75rem; max-width: 48rem; }
small { color: var(--soft); font-size: 0.8rem; }
i { display: inline-block; width: 0.7em; height: 0.7em; border-radius: 50%; margin-right: 0.4em; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { padding: 0.3rem 0.6rem; border-bottom: 1px solid var(--rule); text-align: right;
  white-space: nowrap; font-weight: normal; }
tr > :first-child { text-align: left; position: sticky; left: 0; background: var(--ground); }
tr:first-child th { color: var(--soft); font-size: 0.85rem; vertical-align: bottom; }
td.runs { text-align: left; font-size: 0.8rem; color: var(--soft); }
.matrix small { display: block; }
.better { background: var(--better); } .worse { background: var(--worse); }
.alike { color: var(--soft); background: var(--cell); }
.ranking { display: grid; grid-template-columns: 2rem minmax(6rem, auto) auto minmax(8rem, 1fr);
  column-gap: 0.75rem; align-items: center; padding-right: 1.5rem; }
.rank { text-align: right; font-weight: 600; }
.score { white-space: nowrap; text-align: right; }
.ranking small { display: block; }
.whisker { width: 100%; height: 2.4rem; overflow: visible; }
.ci { stroke-width: 2.5; } .grid { stroke: var(--rule); stroke-width: 1; }
.across { position: relative; height: 1.6rem; font-size: 0.8rem; color: var(--soft); }
.across span { position: absolute; transform: translateX(-50%); }
.ticks { grid-column: 4; }
.plot { display: grid; grid-template-columns: 3.5rem 1fr; max-width: 44rem; padding-right: 1rem; }
.area { width: 100%; height: 18rem; overflow: visible; }
.area polyline { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke; }
.area circle { stroke: none; } .area .ring { fill: none; stroke-width: 2; }
.up { position: relative; font-size: 0.8rem; color: var(--soft); }
.up span { position: absolute; right: 0.5rem; transform: translateY(50%); }
.plot .across { grid-column: 2; }
.legend { list-style: none; padding: 0; margin: 0 0 0.75rem; display: flex; flex-wrap: wrap;
  gap: 0.25rem 1.25rem; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { font-size: 0.85rem; margin-bottom: 0.4rem; }
.panels .plot { grid-template-columns: 2rem 1fr; } .panels .area { height: 11rem; }
@media (max-width: 600px) {
  th, td { padding: 0.25rem 0.35rem; font-size: 0.85rem; }
  .ranking { grid-template-columns: 1.5rem 1fr auto; }
  .whisker, .ticks { grid-column: 2 / 4; }
  .whisker { height: 1.4rem; }
}
"""
