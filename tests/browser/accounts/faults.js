const channel = (p) => { p /= 255; return p <= 0.04045 ? p / 12.92 : ((p + 0.055) / 1.055) ** 2.4 };
const lum = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const parse = (t) => { const n = t.match(/[\d.]+/g).map(Number); return [n.slice(0, 3), n[3] ?? 1] };
const ground = (node) => { for (let at = node; at; at = at.parentElement) { const [c, a] = parse(getComputedStyle(at).backgroundColor); if (a === 1) return c; if (a > 0) return null; } return parse(getComputedStyle(document.body).backgroundColor)[0]; };
const found = [];
for (const node of document.querySelectorAll('body *')) {
  const text = [...node.childNodes].some((c) => c.nodeType === 3 && c.data.trim());
  if (!text || !node.checkVisibility() || node.closest('.skip,script,option')) continue;
  const under = ground(node); if (!under) continue;
  const [l, d] = [lum(parse(getComputedStyle(node).color)[0]), lum(under)].sort((a, b) => b - a);
  const ratio = (l + 0.05) / (d + 0.05);
  if (ratio < 4.5) found.push(`${node.textContent.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
}
for (const node of document.querySelectorAll('input:not([type=hidden]),select,textarea,button,a')) {
  if (!node.checkVisibility() || node.closest('.skip')) continue;
  const name = node.getAttribute('aria-label') || node.innerText?.trim() || node.labels?.[0]?.innerText;
  if (!name) found.push(`no name: ${node.outerHTML.slice(0, 80)}`);
  const b = node.getBoundingClientRect();
  // A link within a sentence is as high as its line (WCAG 2.5.8).
  if (getComputedStyle(node).display !== 'inline' && (b.width < 24 || b.height < 24)) found.push(`small: ${node.outerHTML.slice(0, 60)} ${b.width}x${b.height}`);
}
const ids = [...document.querySelectorAll('[id]')].map((n) => n.id);
found.push(...ids.filter((id, at) => ids.indexOf(id) !== at).map((id) => `${id} twice`));
for (const n of document.querySelectorAll('[aria-describedby],[aria-labelledby]')) found.push(...`${n.getAttribute('aria-describedby') ?? ''} ${n.getAttribute('aria-labelledby') ?? ''}`.split(' ').filter((id) => id && !document.getElementById(id)).map((id) => `${id} nowhere`));
if (document.documentElement.scrollWidth > innerWidth) found.push(`wider than the screen: ${document.documentElement.scrollWidth}`);
if (document.querySelectorAll('h1').length !== 1) found.push('h1');
return found;
