"""How the page looks, by day and by night."""

STYLE = """
:root {
  color-scheme: light dark;
  --ground: #f6f7f9; --card: #ffffff; --ink: #1d2430; --soft: #5d6879; --line: #e2e6ec;
  --accent: 47 111 222; --bad: 205 66 53; --good: 24 134 92; --track: #e9edf3;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #12151b; --card: #1a1f28; --ink: #e7ebf2; --soft: #97a3b5; --line: #2a313d;
    --accent: 106 158 255; --bad: 244 117 102; --good: 74 199 146; --track: #262d39;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 1120px; padding: 40px 24px 56px; background: var(--ground); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  font-variant-numeric: tabular-nums;
}
h1 { margin: 0 0 24px; font-size: 34px; line-height: 1.2; letter-spacing: -.02em; overflow-wrap: anywhere; }
h2 { margin: 0 0 14px; font-size: 18px; letter-spacing: -.01em; overflow-wrap: anywhere; }
h3 { margin: 22px 0 10px; font-size: 14px; font-weight: 600; }
h3:first-child { margin-top: 0; }
p { margin: 0 0 12px; }
.kicker { margin: 0; color: rgb(var(--accent)); font-size: 13px; font-weight: 600; letter-spacing: .02em; }
.soft { color: var(--soft); }
section { margin-top: 18px; padding: 24px; }
section, .card { background: var(--card); border: 1px solid var(--line); border-radius: 14px; }
footer { margin-top: 22px; color: var(--soft); font-size: 13px; }

.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; }
.card { padding: 16px 18px; }
.card:first-child { grid-column: span 2; }
.card b { display: block; font-size: 26px; line-height: 1.25; letter-spacing: -.02em; white-space: nowrap; }
.card:first-child b { color: rgb(var(--accent)); font-size: 40px; line-height: 1.15; }
.card span { color: var(--soft); font-size: 13px; }

.path { display: flex; flex-wrap: wrap; gap: 10px 30px; margin: 0 0 4px; padding: 0; list-style: none; }
.path li { position: relative; flex: 1 1 140px; padding: 12px 14px; border: 1px solid var(--line); }
.path li { border-radius: 10px; }
.path li + li::before { content: "→"; position: absolute; left: -23px; top: 50%; translate: 0 -50%; }
.path b { display: block; }
.path span { color: var(--soft); font-size: 13px; }

.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr)); gap: 14px; }
figure { margin: 0; }
figure img { display: block; background: #fff; border: 1px solid var(--line); border-radius: 10px; }
.pictures img { padding: 10px; width: 100%; }
figcaption { font-size: 13px; line-height: 1.4; overflow-wrap: anywhere; }
.pictures figcaption { margin-bottom: 6px; font-weight: 600; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(108px, 1fr)); gap: 16px 12px; }
.gallery.wide { grid-template-columns: repeat(auto-fill, minmax(220px, 1fr)); }
.gallery img, .gazes img { width: 100%; aspect-ratio: var(--shape); object-fit: contain; padding: 5px; }
.gallery figcaption { margin-top: 6px; }
.file { display: block; color: var(--soft); font-size: 12px; }
.file, .matrix th, .matrix th span { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.right b { color: rgb(var(--good)); }
.wrong b { color: rgb(var(--bad)); }
.scroll { overflow-x: auto; }
.gazes { border-spacing: 10px 12px; border-collapse: separate; margin: 0 -10px; table-layout: fixed; }
.gazes th, .gazes td { border: 0; padding: 0; width: var(--cell); font-size: 13px; text-align: left; }
.gazes th[scope=row] { width: 130px; font-weight: 400; line-height: 1.4; overflow-wrap: anywhere; }
.gazes img { width: var(--cell); }

table { border-collapse: collapse; font-size: 14px; }
th, td { padding: 5px 14px 5px 0; text-align: left; border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-size: 13px; font-weight: 500; }
tbody th { font-weight: 500; max-width: 260px; overflow-wrap: anywhere; }
tr:last-child > * { border-bottom: 0; }
td.number, th.number { text-align: right; white-space: nowrap; }
.bars { width: 100%; }
.bars td.bar { width: 45%; padding-right: 0; }
.bars i { display: block; height: 9px; border-radius: 5px; background: var(--track); overflow: hidden; }
.bars i::before { content: ""; display: block; height: 100%; width: calc(100% * var(--share)); }
.bars i::before { border-radius: 5px; background: rgb(var(--accent)); }
.side { display: flex; flex-wrap: wrap; gap: 24px 64px; }
.side > div { max-width: 100%; }

.matrix { border-collapse: separate; border-spacing: calc(var(--cell) / 20); margin: 0 auto 4px 0; }
.matrix th, .matrix td { border: 0; padding: 0; font-weight: 400; font-size: min(13px, calc(var(--cell) * .45)); }
.matrix td { width: var(--cell); min-width: var(--cell); height: var(--cell); text-align: center; }
.matrix td { border-radius: calc(var(--cell) / 8); background: rgb(var(--tone) / var(--share, 0)); }
.matrix td.none { background: var(--track); opacity: .55; }
.matrix td.full { color: var(--card); }
.matrix tbody th { max-width: 180px; padding-right: 8px; text-align: right; }
.matrix thead th { height: 1px; vertical-align: bottom; color: inherit; }
.matrix thead th span { display: block; max-height: 140px; margin: 0 auto 4px; }
.matrix thead th span { writing-mode: vertical-rl; rotate: 180deg; }

ul.plain { margin: 0; padding-left: 18px; overflow-wrap: anywhere; }
details { margin-top: 8px; }
summary { cursor: pointer; color: rgb(var(--accent)); font-size: 14px; }
pre { margin: 10px 0 0; padding: 14px 16px; overflow-x: auto; background: var(--ground); border-radius: 10px; }
pre { font: 12.5px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
@media (max-width: 560px) {
  body { padding: 24px 12px; }
  section { padding: 16px; }
  .path li + li::before { display: none; }
}
@media print { body { background: none; } section { break-inside: avoid; } }
"""
